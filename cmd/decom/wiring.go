package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"decom/nmvs"
	"decom/queue"
	"decom/queue/doors/files"
	"decom/ratelimit"
	"decom/worker/packstate"
)

// queueConfig is the queue's part of a loaded configuration.
func (c *Config) queueConfig() (queue.Config, error) {
	password, err := secretText(c.NATS.Password, c.NATS.PasswordFile)
	cfg := queue.Config{
		URL: c.NATS.URL, Creds: c.NATS.Creds, NKey: c.NATS.NKey, User: c.NATS.User, Password: password,
		CA: c.NATS.CA, Replicas: c.NATS.Replicas, KeepLost: c.Doors.MQTT.on(),
	}
	if c.NATS.URL == "" {
		cfg.Dir = filepath.Join(c.Dir, "nats")
	}
	if seed, ok := strings.CutPrefix(cfg.Creds, "nkey:"); ok {
		cfg.Creds, cfg.NKey = "", seed
	}
	return cfg, err
}

// storeConfig is the pack state's part.
func (c *Config) storeConfig() (packstate.Config, error) {
	password, err := secretText(c.Redis.Password, c.Redis.PasswordFile)
	cfg := packstate.Config{
		URL: c.Redis.URL, Addrs: c.Redis.Addrs, Master: c.Redis.Master, Username: c.Redis.Username, Password: password,
	}
	if cfg.Embedded() {
		cfg.Dir = filepath.Join(c.Dir, "redis")
	}
	return cfg, err
}

// secretText is a secret that loadConfig has settled: inline, or in a file.
func secretText(inline, file string) (string, error) {
	if file == "" {
		return inline, nil
	}
	return readSecret(file)
}

// clientConfig is an account's part of the NMVS client. It reads the CA and
// opens the certificate; both were checked by loadConfig, but may have changed.
func (c *Config) clientConfig(a *Account) (nmvs.Config, error) {
	p := a.Settings(c.Protocol)
	cfg := nmvs.Config{
		Endpoints: map[nmvs.Service]string{},
		Version:   c.NMVS.Version,
		Credentials: nmvs.Credentials{
			ClientLoginID: a.ClientLoginID, UserID: a.UserID, Password: a.Password, PasswordFile: a.PasswordFile,
		},
		TReuse: p.TReuse, TSingle: p.THTTPSingle, TBulk: p.THTTPBulk,
		PendingListCode: a.PendingListCode,
	}
	if cfg.TReuse == 0 {
		cfg.TReuse = -1 // ours says 0 for "never again", the client's zero is its default
	}
	e := c.NMVS.Endpoints
	for svc, url := range map[nmvs.Service]string{nmvs.Single: e.Single, nmvs.Bulk: e.Bulk, nmvs.Mixed: e.Mixed, nmvs.Support: e.Support} {
		if url != "" {
			cfg.Endpoints[svc] = url
		}
	}
	var err error
	if c.NMVS.CA != "" {
		if cfg.CA, err = os.ReadFile(c.NMVS.CA); err != nil {
			return cfg, err
		}
	}
	cfg.Certificate, err = nmvs.LoadCertificate(a.certConfig())
	return cfg, err
}

// certConfig names the account's certificate files.
func (a *Account) certConfig() nmvs.CertConfig {
	return nmvs.CertConfig{
		PKCS12: a.Certificate, CertFile: a.CertificateFile, KeyFile: a.KeyFile,
		Passphrase: a.Passphrase, PassphraseFile: a.PassphraseFile,
	}
}

// queueAccounts is what the queue must know of the accounts.
func (c *Config) queueAccounts() []queue.Account {
	list := make([]queue.Account, len(c.Accounts))
	for i, a := range c.Accounts {
		list[i] = queue.Account{Name: a.Name, Sites: a.Sites}
	}
	return list
}

// rates is the account's limits by service; they were checked by loadConfig.
func (a *Account) rates() (map[string]ratelimit.Rate, error) {
	single, err := ratelimit.ParseRate(a.Limits.Single)
	if err != nil {
		return nil, err
	}
	bulk, err := ratelimit.ParseRate(a.Limits.Bulk)
	if err != nil {
		return nil, err
	}
	return map[string]ratelimit.Rate{"single": single, "bulk": bulk}, nil
}

// connectQueue reaches NATS, or says with the right exit code why not.
func (c *Config) connectQueue(ctx context.Context) (*queue.Conn, error) {
	cfg, err := c.queueConfig()
	if err != nil {
		return nil, exitWith(exitConfig, err)
	}
	if url := embeddedURL(c); cfg.URL == "" && url != "" {
		// A decom run with this directory may be up: its server is the one to talk to.
		if conn, err := queue.Connect(ctx, queue.Config{URL: url, Name: cfg.Name, KeepLost: cfg.KeepLost}); err == nil {
			return conn, nil
		}
	}
	return dialQueue(ctx, cfg)
}

// dialQueue is connectQueue for a changed configuration (names, hooks).
func dialQueue(ctx context.Context, cfg queue.Config) (*queue.Conn, error) {
	conn, err := queue.Connect(ctx, cfg)
	switch {
	case err == nil:
		return conn, nil
	case errors.Is(err, queue.ErrUnavailable), errors.Is(err, queue.ErrTooOld):
		return nil, exitWith(exitDown, err)
	case errors.Is(err, queue.ErrDenied):
		return nil, exitWith(exitConfig, err)
	}
	return nil, err
}

// setUp is queue's Setup with the right exit code.
func setUp(ctx context.Context, conn *queue.Conn, c *Config, dryRun bool) ([]queue.Change, error) {
	changes, err := conn.Setup(ctx, c.queueAccounts(), dryRun)
	if errors.Is(err, queue.ErrUnavailable) {
		err = exitWith(exitDown, err)
	}
	return changes, err
}

// openSender connects what decom publish needs.
func (a *app) openSender(ctx context.Context, c *loaded) (sendFunc, func(), error) {
	conn, err := c.connectQueue(ctx)
	if err != nil {
		return nil, nil, err
	}
	if c.NATS.URL == "" {
		// Nobody else can have prepared the embedded server's streams: this process
		// has it for itself now.
		if _, err := setUp(ctx, conn, &c.Config, false); err != nil {
			conn.Close()
			return nil, nil, err
		}
	}
	send := func(ctx context.Context, events []files.Event) ([]ack, error) {
		scans := make([]queue.Scan, len(events))
		for i, ev := range events {
			scans[i] = queue.Scan{Site: ev.Site, Device: ev.Device, ID: ev.ID, Body: ev.Body}
		}
		stored, err := conn.PublishScans(ctx, scans)
		acks := make([]ack, len(stored))
		for i, s := range stored {
			acks[i] = ack{seq: s.Seq, duplicate: s.Duplicate}
		}
		return acks, err
	}
	return send, conn.Close, nil
}
