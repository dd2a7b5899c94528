package httpdoor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"decom/queue"
	"decom/worker/scan"
)

// Queue is what the door needs of NATS; *queue.Conn is one.
type Queue interface {
	PublishScans(ctx context.Context, scans []queue.Scan) ([]queue.Ack, error)
	Outcomes(ctx context.Context, f queue.OutcomeFilter, fn func(queue.StoredOutcome) error) error
	Up() bool
}

// Deps are the door's collaborators.
type Deps struct {
	Queue Queue
	// Read tells that the line will reject a scan, so that a person at a scanner learns it
	// at once; the scan is stored all the same. May be nil.
	Read func(scan.Event) *Warning
	// Pack tells where a pack of a site stands. nil: this gateway does not know. Errors:
	// [ErrNotAPack], or anything else for "ask again".
	Pack func(ctx context.Context, site, code, serial string) (Pack, error)
	Log  *slog.Logger
	// Count is told how many scans of a request were stored, refused for good, and not
	// acknowledged. May be nil; must not block.
	Count func(who Principal, stored, refused, later int)
}

// Door is the HTTP door. Make one with New.
type Door struct {
	cfg    Config
	deps   Deps
	tokens *tokens
	paces  *paces
	recent *recents
	mux    *http.ServeMux
}

// New reads the tokens and makes the door; it listens nowhere yet.
func New(cfg Config, deps Deps) (*Door, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Count == nil {
		deps.Count = func(Principal, int, int, int) {}
	}
	cfg = cfg.withDefaults()
	d := &Door{cfg: cfg, deps: deps, paces: newPaces(cfg), recent: &recents{devices: map[string]*recent{}}}
	var err error
	d.tokens, err = openTokens(cfg.TokensFile, func(err error) {
		deps.Log.Error("HTTP door: the tokens file cannot be read, the tokens of before stay", "err", err)
	})
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	d.mux = http.NewServeMux()
	d.mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	d.mux.HandleFunc("GET /readyz", d.ready)
	d.mux.Handle("POST /v1/scans", d.guarded(d.post))
	d.mux.Handle("GET /v1/outcomes", d.guarded(d.outcomes))
	d.mux.Handle("GET /v1/packs/{code}/{serial}", d.guarded(d.pack))
	d.mux.Handle("GET /v1/packs", d.guarded(d.pack)) // ?code=&serial=: for clients that cannot escape a path
	for _, path := range []string{"/v1/scans", "/v1/outcomes", "/v1/packs", "/v1/packs/{code}/{serial}"} {
		d.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { badMethod.problem(r, "").write(w) })
	}
	d.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { notFound.problem(r, "").write(w) })
	return d, nil
}

// ServeHTTP answers one request. A body must arrive within cfg.BodyTime, whoever sends it:
// the server itself has no such limit, which would end the streams of outcomes, too.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(d.cfg.BodyTime)) // fakes of tests cannot
	d.mux.ServeHTTP(w, r)
}

func (d *Door) ready(w http.ResponseWriter, _ *http.Request) {
	if !d.deps.Queue.Up() {
		http.Error(w, "NATS is down", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// caller is who asks.
type caller struct {
	who  Principal // Device may still be AnyDevice
	pace *pace
}

// guarded lets a request with a token through. site= and device= may narrow a token,
// never widen it.
func (d *Door) guarded(serve func(http.ResponseWriter, *http.Request, caller) *Problem) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead { // a pattern of GET takes it, too, and a stream has no head of its own
			badMethod.problem(r, "").write(w)
			return
		}
		c, p := d.identify(r)
		if p == nil {
			p = serve(w, r, c)
		}
		if p != nil {
			p.write(w)
		}
	})
}

func (d *Door) identify(r *http.Request) (c caller, p *Problem) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	who, ok := d.tokens.find(strings.TrimSpace(secret), time.Now())
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return c, noToken.problem(r, "")
	}
	var err error
	if c.pace, err = d.paces.of(who); err != nil { // the configuration's rate was checked
		return c, noAnswer.problem(r, "")
	}
	query := r.URL.Query()
	if site := query.Get("site"); site != "" && site != who.Site {
		return c, otherSource.problem(r, "")
	}
	if device := query.Get("device"); device != "" && device != who.Device {
		if who.Device != AnyDevice {
			return c, otherSource.problem(r, "")
		}
		if !scan.ValidToken(device) {
			return c, badQuery.problem(r, "device: must be 1 to 64 of A-Z a-z 0-9 _ -")
		}
		who.Device = device
	}
	c.who = who
	return c, nil
}

// Listen opens cfg.Listen, with TLS if there is a certificate.
func (d *Door) Listen() (net.Listener, error) {
	ln, err := net.Listen("tcp", d.cfg.Listen)
	if err != nil || d.cfg.CertFile == "" {
		return ln, err
	}
	keys := &keyPair{cert: d.cfg.CertFile, key: d.cfg.KeyFile}
	if _, err := keys.get(nil); err != nil {
		_ = ln.Close()
		return nil, err
	}
	return tls.NewListener(ln, &tls.Config{GetCertificate: keys.get, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}), nil
}

// keyPair is a certificate that is read again when its file changes.
type keyPair struct {
	cert, key string

	mu      sync.Mutex
	pair    *tls.Certificate // guarded by mu
	changed time.Time        // guarded by mu
}

func (k *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	st, err := os.Stat(k.cert)
	if k.pair != nil && (err != nil || st.ModTime().Equal(k.changed)) {
		return k.pair, nil
	}
	pair, err := tls.LoadX509KeyPair(k.cert, k.key)
	if err != nil {
		if k.pair != nil {
			return k.pair, nil // half of a renewal: the next handshake looks again
		}
		return nil, err
	}
	k.pair, k.changed = &pair, st.ModTime()
	return k.pair, nil
}

// closing is how long requests under way have to end once ctx has.
const closing = 5 * time.Second

// Serve answers on ln until ctx ends; then requests under way end, streams of outcomes at
// once, and Serve returns nil.
func (d *Door) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler: d, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(d.deps.Log.Handler(), slog.LevelDebug),
	}
	streams, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	srv.BaseContext = func(net.Listener) context.Context { return context.WithValue(streams, stopKey{}, ctx.Done()) }
	done := make(chan error, 1) // Serve's one result
	go func() { done <- srv.Serve(ln) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
	defer cancel()
	if err := srv.Shutdown(bye); err != nil {
		_ = srv.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// stopKey is under which a request's context carries the channel that ends streams: the
// request's own context must not end with it, or a scan under way would be given up.
type stopKey struct{}
