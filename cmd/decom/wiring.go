package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"decom/queue"
	"decom/ratelimit"
)

// queueConfig is the queue's part of a loaded configuration.
func (c *Config) queueConfig() queue.Config {
	cfg := queue.Config{
		URL: c.NATS.URL, Creds: c.NATS.Creds, NKey: c.NATS.NKey, User: c.NATS.User, Password: c.NATS.Password,
		CA: c.NATS.CA, Replicas: c.NATS.Replicas,
	}
	if c.NATS.URL == "" {
		cfg.Dir = filepath.Join(c.Dir, "nats")
	}
	if seed, ok := strings.CutPrefix(cfg.Creds, "nkey:"); ok {
		cfg.Creds, cfg.NKey = "", seed
	}
	return cfg
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
func connectQueue(ctx context.Context, cfg queue.Config) (*queue.Conn, error) {
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

// openSender connects what decom publish needs.
func (a *app) openSender(ctx context.Context, c *loaded) (sendFunc, func(), error) {
	conn, err := connectQueue(ctx, c.queueConfig())
	if err != nil {
		return nil, nil, err
	}
	if c.NATS.URL == "" {
		// Nobody else can have prepared the embedded server's streams: this process
		// has it for itself now.
		if _, err := conn.Setup(ctx, c.queueAccounts(), false); err != nil {
			conn.Close()
			return nil, nil, err
		}
	}
	send := func(ctx context.Context, events []event) ([]ack, error) {
		scans := make([]queue.Scan, len(events))
		for i, ev := range events {
			scans[i] = queue.Scan{Site: ev.site, Device: ev.device, ID: ev.id, Body: ev.body}
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
