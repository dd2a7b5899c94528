package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// oldestServer has the compare-and-set that protocol.md rests on (A1).
var oldestServer = [3]int{2, 12, 6}

// Conn is a connection to NATS, or to the server embedded in this process.
type Conn struct {
	cfg Config
	nc  *nats.Conn
	js  jetstream.JetStream
	emb *embedded // nil when a URL is given

	notes   *refusals   // nil without MQTT
	closing atomic.Bool // Close was called: what the client reports from then on is our doing

	mu      sync.Mutex
	scans   map[string]*Scans  // guarded by mu
	ledgers map[string]*Ledger // guarded by mu
	outs    map[string]*Outbox // guarded by mu
}

// Connect reaches NATS, or starts the embedded server, and checks that it can do
// what the protocol needs. It returns [ErrUnavailable] when nobody answers,
// [ErrDenied], [ErrTooOld], [ErrLocked], or the problems of cfg. It creates no
// stream: that is Setup.
func Connect(ctx context.Context, cfg Config) (*Conn, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fail("connect", "", err)
	}
	cfg = cfg.withDefaults()
	c := &Conn{cfg: cfg, scans: map[string]*Scans{}, ledgers: map[string]*Ledger{}, outs: map[string]*Outbox{}}
	if cfg.MQTT != nil {
		c.notes = &refusals{came: make(chan refusal, refusalsWaiting), stop: make(chan struct{})}
	}
	opts, err := c.options(ctx)
	if err != nil {
		return nil, fail("connect", redacted(cfg.URL), err)
	}
	url := cfg.URL
	if url == "" {
		if c.emb, err = startEmbedded(cfg, c.refuse); err != nil {
			return nil, fail("connect", "", err)
		}
		opts = append(opts, nats.InProcessServer(c.emb.srv))
	}
	if c.nc, err = nats.Connect(url, opts...); err != nil {
		c.Close()
		return nil, fail("connect", redacted(cfg.URL), atStart(err))
	}
	if err = c.check(ctx); err != nil {
		c.Close()
		return nil, fail("connect", c.nc.ConnectedUrlRedacted(), err)
	}
	if c.notes != nil {
		c.notes.start(c)
	}
	return c, nil
}

// atStart says whether a connection failed for want of a server or of rights.
func atStart(err error) error {
	if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) ||
		errors.Is(err, nats.ErrAuthRevoked) || errors.Is(err, nats.ErrAccountAuthExpired) {
		return fmt.Errorf("%w: %w", ErrDenied, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

func (c *Conn) options(ctx context.Context) ([]nats.Option, error) {
	timeout := 5 * time.Second
	if t, ok := ctx.Deadline(); ok {
		timeout = max(min(timeout, time.Until(t)), time.Millisecond)
	}
	opts := []nats.Option{
		nats.Name(c.cfg.Name),
		nats.Timeout(timeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 250*time.Millisecond),
		nats.RetryOnFailedConnect(false),
		// Nothing leaves behind the caller's back: a publish while disconnected
		// fails at once, without effect.
		nats.ReconnectBufSize(-1),
		// A connection that is dead without saying so is found within 15 s.
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.SyncQueueLen(syncQueue),
		nats.IgnoreAuthErrorAbort(), // credentials being renewed must not end the worker
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { c.tell(State{Err: err}) }),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			c.tell(State{Up: true, Server: nc.ConnectedUrlRedacted(), Err: newEnough(nc.ConnectedServerVersion())})
		}),
		nats.ErrorHandler(func(nc *nats.Conn, sub *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrSlowConsumer) && sub != nil && strings.HasPrefix(sub.Subject, scanPrefix) {
				return // Watch: what it misses, Fetch delivers
			}
			c.tell(State{Up: nc.IsConnected(), Server: nc.ConnectedUrlRedacted(), Err: err})
		}),
	}
	switch {
	case c.cfg.Creds != "":
		opts = append(opts, nats.UserCredentials(c.cfg.Creds))
	case c.cfg.NKey != "":
		nkey, err := nats.NkeyOptionFromSeed(c.cfg.NKey)
		if err != nil {
			return nil, fmt.Errorf("nats.nkey: %w", err)
		}
		opts = append(opts, nkey)
	case c.cfg.User != "":
		opts = append(opts, nats.UserInfo(c.cfg.User, c.cfg.Password))
	}
	if c.cfg.CA != "" {
		opts = append(opts, nats.RootCAs(c.cfg.CA))
	}
	return opts, nil
}

func (c *Conn) tell(s State) {
	if !c.closing.Load() {
		c.cfg.OnState(s)
	}
}

// check asks whether the server is new enough and JetStream is on. A server that
// has just started may need a moment for the second.
func (c *Conn) check(ctx context.Context) (err error) {
	if err = newEnough(c.nc.ConnectedServerVersion()); err != nil {
		return err
	}
	if c.js, err = jetstream.New(c.nc, jetstream.WithDefaultTimeout(c.cfg.AnswerWait)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for p := (pause{}); ; {
		if _, err = c.js.AccountInfo(ctx); err == nil {
			return nil
		}
		if errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
			return fmt.Errorf("%w: JetStream is off for this NATS account", ErrUnavailable)
		}
		if p.wait(ctx) != nil {
			if errors.Is(err, jetstream.ErrJetStreamNotEnabled) {
				return fmt.Errorf("%w: the server runs without JetStream; start it with -js or a jetstream block in its configuration", ErrUnavailable)
			}
			return fmt.Errorf("%w: the server answers, but its JetStream does not: %w", ErrUnavailable, err)
		}
	}
}

// newEnough compares a version like 2.12.6 or 2.15.0-RC.1 with the oldest allowed.
func newEnough(version string) error {
	numbers, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), "-")
	parts := strings.SplitN(numbers, ".", 3)
	for i, want := range oldestServer {
		got := -1
		if i < len(parts) {
			if n, err := strconv.Atoi(parts[i]); err == nil {
				got = n
			}
		}
		if got > want {
			return nil
		}
		if got < want {
			return fmt.Errorf("%w: it is nats-server %s, decom needs %d.%d.%d or later", ErrTooOld, version,
				oldestServer[0], oldestServer[1], oldestServer[2])
		}
	}
	return nil
}

// Close ends the connection, and the embedded server if there is one. Calls in
// flight fail with [ErrClosed]. Close may be called twice.
func (c *Conn) Close() {
	c.closing.Store(true)
	if c.notes != nil {
		c.notes.end()
	}
	if c.nc != nil {
		c.nc.Close()
	}
	c.mu.Lock()
	emb := c.emb
	c.emb = nil
	c.mu.Unlock()
	if emb != nil {
		if err := emb.stop(); err != nil {
			c.cfg.OnLog("error", "closing the embedded server: "+err.Error())
		}
	}
}

// Up says whether the connection stands now.
func (c *Conn) Up() bool { return c.nc.IsConnected() }

// URL returns the address of the server: where other programs reach the embedded
// one, or "" when nobody can.
func (c *Conn) URL() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.emb == nil:
		return c.nc.ConnectedUrlRedacted()
	case c.cfg.Listen == "":
		return ""
	}
	return c.emb.srv.ClientURL()
}

// pause is the waiting between two tries: 20 ms, growing to 1 s.
type pause struct{ last time.Duration }

// wait returns the context's cause when that ends first.
func (p *pause) wait(ctx context.Context) error {
	p.last = min(max(2*p.last, 20*time.Millisecond), time.Second)
	return sleep(ctx, p.last)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
