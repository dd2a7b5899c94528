package queue

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// Config says how to reach NATS. Zero values are the defaults.
type Config struct {
	// URL lists servers, comma separated: nats://, tls://, ws://. Empty: a server
	// runs inside this process and keeps its files under Dir.
	URL string

	// Dir holds the embedded server's files; one process per directory. Required
	// when URL is empty, else unused.
	Dir string

	// Listen is HOST:PORT on which the embedded server takes connections of other
	// programs (port 0 = any). Empty: none, this process only. No credentials are
	// asked there, so only loopback addresses are allowed.
	Listen string

	// MQTT opens the embedded server's MQTT listener. nil: none.
	MQTT *MQTT

	// KeepLost has Setup create DECOM_LOST though MQTT is nil: devices speak MQTT to the
	// server at URL.
	KeepLost bool

	// Lazy lets the embedded server sync its files every 2 minutes instead of after
	// each write. For benchmarks and demos only: a power cut then loses ledger
	// records that were acknowledged.
	Lazy bool

	// Creds is a credentials file (JWT and seed), NKey a file with an nkey seed,
	// User and Password a plain login. At most one of the three.
	Creds, NKey, User, Password string

	// CA is a PEM file with the authorities that sign the servers' certificates.
	// Empty: those of the system.
	CA string

	// Replicas of the streams that Setup creates, 1 to 5. 0: 1 for a new stream, and
	// existing streams are left as they are.
	Replicas int

	// Name tells this process apart in the server's lists; the worker id.
	Name string

	// AckWait is how long a scan may stay un-acked before it is delivered again.
	// Setup writes it into the consumers. Default 60 s (protocol.md section 2);
	// tests shorten it.
	AckWait time.Duration

	// AnswerWait is how long one request waits for its answer before it counts as
	// lost. Default 3 s: well above an fsync, below anybody's patience.
	AnswerWait time.Duration

	// OnState is told when the connection goes and comes, from a goroutine of the
	// NATS client. It must not block. May be nil.
	OnState func(State)

	// OnLog is told what the embedded server warns of. Must not block. May be nil.
	OnLog func(level, text string)
}

// State is what became of the connection.
type State struct {
	Up     bool
	Server string // URL of the server, when up
	Err    error  // why it went down, or what is wrong though it is up; may be nil
}

const (
	defaultAckWait    = 60 * time.Second
	defaultAnswerWait = 3 * time.Second
)

func (c Config) withDefaults() Config {
	if c.AckWait == 0 {
		c.AckWait = defaultAckWait
	}
	if c.AnswerWait == 0 {
		c.AnswerWait = defaultAnswerWait
	}
	if c.Name == "" {
		c.Name = "decom"
	}
	if c.OnState == nil {
		c.OnState = func(State) {}
	}
	if c.OnLog == nil {
		c.OnLog = func(string, string) {}
	}
	return c
}

// Validate reports every problem of c at once.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if c.URL == "" && c.Dir == "" {
		bad("nats: neither a url nor a dir for the embedded server")
	}
	for u := range strings.SplitSeq(c.URL, ",") {
		if u = strings.TrimSpace(u); c.URL != "" && u == "" {
			bad("nats.url: %q has an empty entry", c.URL)
		}
	}
	logins := 0
	for _, s := range []string{c.Creds, c.NKey, c.User} {
		if s != "" {
			logins++
		}
	}
	if logins > 1 {
		bad("nats: give one of creds, nkey and user")
	}
	if c.Password != "" && c.User == "" {
		bad("nats: a password without a user")
	}
	for key, file := range map[string]string{"creds": c.Creds, "nkey": c.NKey, "ca": c.CA} {
		if file == "" {
			continue
		}
		if _, err := os.Stat(file); err != nil {
			bad("nats.%s: %w", key, err)
		}
	}
	if c.Replicas < 0 || c.Replicas > 5 {
		bad("nats.replicas: %d is not in 1 to 5", c.Replicas)
	}
	if c.Replicas > 1 && c.URL == "" {
		bad("nats.replicas: the embedded server keeps one copy, not %d", c.Replicas)
	}
	if c.AckWait < 0 || c.AnswerWait < 0 {
		bad("nats: negative waiting time")
	}
	if c.MQTT != nil && c.URL != "" {
		bad("mqtt: is the embedded server's listener, but a url is given")
	}
	errs = append(errs, c.checkListen(), c.MQTT.validate())
	return errors.Join(errs...)
}

func (c Config) checkListen() error {
	if c.Listen == "" {
		return nil
	}
	if c.URL != "" {
		return errors.New("nats: listen is for the embedded server, but a url is given")
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("nats.listen: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("nats.listen: %s is not a loopback address, and the embedded server asks no password", host)
	}
	return nil
}
