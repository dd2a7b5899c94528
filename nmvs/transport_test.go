package nmvs

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// site is a server over mutual TLS that counts what reaches it.
type site struct {
	*httptest.Server
	ca    *authority
	conns atomic.Int32 // TCP connections
	seen  atomic.Int32 // requests whose whole body was read
}

func newSite(t testing.TB, h http.HandlerFunc, set ...func(*tls.Config)) *site {
	s := &site{ca: newAuthority(t)}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			s.seen.Add(1)
		}
		h(w, r)
	}))
	s.Config.ErrorLog = nil
	s.Config.ErrorLog = discardLog
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			s.conns.Add(1)
		}
	}
	s.TLS = &tls.Config{Certificates: []tls.Certificate{s.ca.issue(x509.ExtKeyUsageServerAuth, time.Hour).tls()},
		ClientCAs: s.ca.pool(), ClientAuth: tls.RequireAndVerifyClientCert}
	for _, f := range set {
		f(s.TLS)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// client returns a client of the site, with a certificate that it accepts.
func (s *site) client(t testing.TB, set ...func(*Config)) *Client {
	t.Helper()
	cfg := demoConfig(5)
	for svc := range cfg.Endpoints {
		cfg.Endpoints[svc] = s.URL + "/" + svc.String()
	}
	cfg.CA = s.ca.pem()
	cert, err := LoadCertificate(s.ca.issue(x509.ExtKeyUsageClientAuth, time.Hour).files(t))
	check(t, err)
	cfg.Certificate = cert
	for _, f := range set {
		f(&cfg)
	}
	c, err := New(cfg)
	check(t, err)
	t.Cleanup(c.Close)
	return c
}

func replyWith(status int, doc string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/soap+xml")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, doc)
	}
}

// hijack gives the handler the raw connection under the reply.
func hijack(f func(tcp *net.TCPConn, tls net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		f(c.(*tls.Conn).NetConn().(*net.TCPConn), c)
	}
}

func reset(tcp *net.TCPConn) { _ = tcp.SetLinger(0); _ = tcp.Close() }

// guarded counts the calls of its guard.
func guarded(call Call, n *atomic.Int32, err error) Call {
	call.Guard = func() error { n.Add(1); return err }
	return call
}

func expect(t testing.TB, err error, a Answer, want Class, is error) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if want.Answered() != (err == nil) || err != nil && (!ok || e.Class != want) || a.Class != want {
		t.Errorf("class %s, error %v; want %s", a.Class, err, want)
	}
	if is != nil && !errors.Is(err, is) {
		t.Errorf("%v is not %v", err, is)
	}
}

func TestACallGoesOutOnceAsTheVendorWantsIt(t *testing.T) {
	ok := golden(t, "g120.success.reply", 5)
	var got http.Request
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) { got = *r; replyWith(200, ok)(w, r) },
		func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} })
	var guards atomic.Int32
	a, err := s.client(t).Do(t.Context(), guarded(supplyA, &guards, nil))
	expect(t, err, a, Success, nil)
	if a.Status != 200 || a.C != supplyA.C || a.Tx == "" || guards.Load() != 1 || s.seen.Load() != 1 {
		t.Errorf("%+v, guard ran %d times, %d requests", a, guards.Load(), s.seen.Load())
	}
	if got.Proto != "HTTP/1.1" || got.Method != "POST" || got.URL.Path != "/single" || got.ContentLength < 700 {
		t.Errorf("%s %s %s, length %d", got.Method, got.URL, got.Proto, got.ContentLength)
	}
	want := http.Header{"Content-Type": {`application/soap+xml; charset=utf-8; action="urn:G120Dispense"`},
		"Accept": {"application/soap+xml, text/xml"}, "User-Agent": {"decomd/0.1.0"}, "Content-Length": {fmt.Sprint(got.ContentLength)}}
	if fmt.Sprint(got.Header) != fmt.Sprint(want) {
		t.Errorf("header %v, want %v", got.Header, want)
	}
}

func TestOnlyTheBytesThatWereRecordedLeave(t *testing.T) {
	s := newSite(t, replyWith(200, golden(t, "g120.success.reply", 5)))
	c := s.client(t)
	for _, call := range []Call{supplyA, bulkB, mixedC} {
		call.SHA = c.Digest(call)
		other := call
		other.Packs = []Pack{call.Packs[0]}
		other.Packs[0].Serial += "0" // a pack that was not recorded
		other.Guard = func() error { t.Error("a connection is ready for other bytes"); return nil }
		a, err := c.Do(t.Context(), other)
		expect(t, err, a, NotSent, ErrBytes)
		other.SHA = "none"
		a, err = c.Do(t.Context(), other)
		expect(t, err, a, NotSent, ErrBytes)
	}
	if n := s.seen.Load(); n != 0 {
		t.Errorf("%d requests", n)
	}
	recorded := with(supplyA, func(call *Call) { call.SHA = c.Digest(supplyA) })
	a, err := c.Do(t.Context(), recorded)
	expect(t, err, a, Success, nil)
}

func TestNoConnectionMeansNotSent(t *testing.T) {
	s := newSite(t, replyWith(200, ""))
	var guards atomic.Int32
	call := guarded(supplyA, &guards, nil)
	t.Run("dial refused", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		check(t, err)
		check(t, l.Close())
		c := s.client(t, func(c *Config) { c.Endpoints[Single] = "https://" + l.Addr().String() })
		a, err := c.Do(t.Context(), call)
		expect(t, err, a, NotSent, nil)
	})
	t.Run("server not trusted", func(t *testing.T) {
		c := s.client(t, func(c *Config) { c.CA = newAuthority(t).pem() })
		a, err := c.Do(t.Context(), call)
		expect(t, err, a, NotSent, nil)
	})
	t.Run("handshake never ends", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		check(t, err)
		defer l.Close()
		c := s.client(t, func(c *Config) {
			c.Endpoints[Single], c.TConnect = "https://"+l.Addr().String(), 50*time.Millisecond
		})
		a, err := c.Do(t.Context(), call)
		expect(t, err, a, NotSent, nil)
	})
	t.Run("cancelled before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		a, err := s.client(t).Do(ctx, call)
		expect(t, err, a, NotSent, context.Canceled)
	})
	t.Run("service left out", func(t *testing.T) {
		a, err := s.client(t, func(c *Config) { delete(c.Endpoints, Bulk) }).Do(t.Context(), bulkB)
		expect(t, err, a, NotSent, ErrNotConfigured)
		a, err = s.client(t, func(c *Config) { c.PendingListCode = "" }).Do(t.Context(), listX)
		expect(t, err, a, NotSent, ErrNotConfigured)
	})
	if guards.Load() != 0 || s.seen.Load() != 0 {
		t.Errorf("the guard ran %d times, %d requests", guards.Load(), s.seen.Load())
	}
}

func TestARefusedCertificateStopsTheAccount(t *testing.T) {
	ok := replyWith(200, golden(t, "g120.success.reply", 5))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := newSite(t, ok, func(c *tls.Config) { c.MaxVersion = version })
		expired := s.ca.issue(x509.ExtKeyUsageClientAuth, -time.Hour)
		for name, cert := range map[string]func() *Certificate{
			"none":    func() *Certificate { return nil },
			"foreign": func() *Certificate { return loaded(t, newAuthority(t).issue(x509.ExtKeyUsageClientAuth, time.Hour)) },
			"expired": func() *Certificate { return &Certificate{cert: new(expired.tls()), stamp: "///"} },
			"expired, seen by the server": func() *Certificate {
				// The clock here may be wrong: the server's word counts.
				l := expired.tls()
				l.Leaf = s.ca.issue(x509.ExtKeyUsageClientAuth, time.Hour).cert
				return &Certificate{cert: &l, stamp: "///"}
			},
		} {
			t.Run(fmt.Sprintf("%s %s", tls.VersionName(version), name), func(t *testing.T) {
				a, err := s.client(t, func(c *Config) { c.Certificate = cert() }).Do(t.Context(), supplyA)
				want := Login
				if version == tls.VersionTLS12 && name == "none" {
					want = NotSent // "handshake failure", says TLS 1.2: it may be anything
				}
				expect(t, err, a, want, nil)
			})
		}
		if s.seen.Load() != 0 {
			t.Errorf("%d requests were served", s.seen.Load())
		}
	}
}

func loaded(t testing.TB, l leaf) *Certificate {
	c, err := LoadCertificate(l.files(t))
	check(t, err)
	return c
}

func TestABrokenExchangeIsInDoubtAndNeverRepeated(t *testing.T) {
	ok := golden(t, "g120.success.reply", 5)
	head := "HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml\r\n"
	for name, tc := range map[string]struct {
		h  http.HandlerFunc
		is error
	}{
		"reset after reading":        {hijack(func(tcp *net.TCPConn, _ net.Conn) { reset(tcp) }), nil},
		"closed after reading":       {hijack(func(_ *net.TCPConn, c net.Conn) { _ = c.Close() }), nil},
		"cut in the headers":         {hijack(func(_ *net.TCPConn, c net.Conn) { _, _ = io.WriteString(c, head[:20]); _ = c.Close() }), nil},
		"cut in the body":            {hijack(func(_ *net.TCPConn, c net.Conn) { cut(c, head, ok, len(ok)-1) }), io.ErrUnexpectedEOF},
		"cut in the middle":          {hijack(func(_ *net.TCPConn, c net.Conn) { cut(c, head, ok, len(ok)/2) }), io.ErrUnexpectedEOF},
		"cut without length":         {hijack(func(_ *net.TCPConn, c net.Conn) { cut(c, head, ok, -len(ok)/2) }), ErrReply},
		"reset in the body":          {hijack(func(tcp *net.TCPConn, c net.Conn) { partly(c, head, ok); reset(tcp) }), nil},
		"hangs":                      {func(http.ResponseWriter, *http.Request) { time.Sleep(400 * time.Millisecond) }, ErrTimeout},
		"hangs in the body":          {hijack(func(_ *net.TCPConn, c net.Conn) { partly(c, head, ok); time.Sleep(400 * time.Millisecond); c.Close() }), ErrTimeout},
		"not HTTP":                   {hijack(func(_ *net.TCPConn, c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n"); _ = c.Close() }), nil},
		"empty 200":                  {replyWith(200, ""), ErrReply},
		"too long":                   {replyWith(200, ok+strings.Repeat(" ", 1<<20)), ErrTooLong},
		"answers another":            {replyWith(200, golden(t, "g120.login.reply", 5)), ErrForeign},
		"garbled":                    {replyWith(200, strings.Replace(ok, "</ns1:Body>", "</ns1:Bodx>", 1)), ErrReply},
		"NMVS's general error":       {replyWith(200, strings.Replace(ok, "NMVS_SUCCESS", "NMVS_ERROR", 1)), nil},
		"NMVS ran out of time":       {replyWith(500, strings.Replace(ok, "NMVS_SUCCESS", "NMVS_TI_TO_01", 1)), nil},
		"status 500 without a code":  {replyWith(500, "<h1>no</h1>"), nil},
		"status 502 without a code":  {replyWith(502, ""), nil},
		"status 503 without a code":  {replyWith(503, "later"), nil},
		"status 504 without a code":  {replyWith(504, ""), nil},
		"status 400 without a code":  {replyWith(400, ""), nil},
		"status 408 without a code":  {replyWith(408, ""), nil},
		"status 202 without a body":  {replyWith(202, ""), nil},
		"SOAP fault of the receiver": {replyWith(500, fault("Receiver")), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, tc.h)
			c := s.client(t, func(c *Config) { c.TSingle, c.MaxReply = 200*time.Millisecond, 1<<20 })
			if tc.is != ErrTimeout {
				c = s.client(t, func(c *Config) { c.MaxReply = 1 << 20 })
			}
			var guards atomic.Int32
			a, err := c.Do(t.Context(), guarded(supplyA, &guards, nil))
			expect(t, err, a, InDoubt, tc.is)
			if s.seen.Load() != 1 || guards.Load() != 1 {
				t.Errorf("%d requests, guard ran %d times", s.seen.Load(), guards.Load())
			}
		})
	}
}

func cut(c net.Conn, head, doc string, n int) {
	if n < 0 {
		_, _ = io.WriteString(c, head+"Connection: close\r\n\r\n"+doc[:-n])
	} else {
		_, _ = fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n%s", head, len(doc), doc[:n])
	}
	_ = c.Close()
}

func partly(c net.Conn, head, doc string) {
	_, _ = fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n%s", head, len(doc), doc[:len(doc)/2])
}

func fault(code string) string {
	return `<s:Envelope xmlns:s="` + nsEnvelope + `"><s:Body><s:Fault><s:Code><s:Value>s:` + code +
		`</s:Value></s:Code><s:Reason><s:Text>x</s:Text></s:Reason></s:Fault></s:Body></s:Envelope>`
}

func TestAReadableAnswerCountsWhateverTheStatus(t *testing.T) {
	ok := golden(t, "g120.success.reply", 5)
	refusal := func(code string) string {
		return strings.Replace(strings.Replace(golden(t, "g120.login.reply", 5), "NMVS_FE_AU_11", code, 1), "01J8Z7C1D3E5F7G9H1J3K5M7N9", supplyA.C, 1)
	}
	for name, tc := range map[string]struct {
		status int
		doc    string
		want   Class
	}{
		"success in a 500":      {500, ok, Success},
		"success in a 503":      {503, ok, Success},
		"form fault in a 400":   {400, refusal("NMVS_TE_XM_02"), Format},
		"login in a 403":        {403, refusal("NMVS_FE_AU_01"), Login},
		"right in a 403":        {403, refusal("NMVS_FE_AU_08"), Rule},
		"too fast in a 500":     {500, refusal("NMVS_FI_SE_CLI_01"), TooFast},
		"busy":                  {200, refusal("NMVS_FI_BAT_01"), Busy},
		"no such service":       {404, refusal("NMVS_TE_REQ_02"), Setup},
		"id used":               {200, refusal("NMVS_TE_TX_01"), UsedID},
		"401 without a code":    {401, "", Login},
		"403 without a code":    {403, "<html/>", Login},
		"403 with a fault":      {403, fault("Sender"), Login},
		"404":                   {404, "", Setup},
		"405":                   {405, "", Setup},
		"413":                   {413, "", Setup},
		"415":                   {415, "", Setup},
		"429":                   {429, "", TooFast},
		"sender fault in a 500": {500, fault("Sender"), Format},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, replyWith(tc.status, tc.doc))
			a, err := s.client(t).Do(t.Context(), supplyA)
			expect(t, err, a, tc.want, nil)
			if a.Status != tc.status || s.seen.Load() != 1 {
				t.Errorf("status %d, %d requests", a.Status, s.seen.Load())
			}
		})
	}
	s := newSite(t, replyWith(503, ""))
	a, err := s.client(t, func(c *Config) { c.TrustUnavailable = true }).Do(t.Context(), supplyA)
	expect(t, err, a, Busy, nil)
}

func TestARedirectIsNotFollowed(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := newSite(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, status) })
		a, err := s.client(t).Do(t.Context(), supplyA)
		expect(t, err, a, Setup, nil)
		if elsewhere.Load() != 0 || s.seen.Load() != 1 {
			t.Errorf("%d: %d requests elsewhere, %d here", status, elsewhere.Load(), s.seen.Load())
		}
	}
}

func TestRetryAfterIsReadInBothForms(t *testing.T) {
	for h, want := range map[string][2]time.Duration{"": {0, 0}, "120": {120 * time.Second, 120 * time.Second}, "-5": {0, 0},
		"soon": {0, 0}, "99999999": {24 * time.Hour, 24 * time.Hour},
		time.Now().Add(time.Hour).UTC().Format(http.TimeFormat): {59 * time.Minute, time.Hour},
		"Mon, 01 Jan 2001 00:00:00 GMT":                         {0, 0}} {
		s := newSite(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", h); w.WriteHeader(429) })
		a, err := s.client(t).Do(t.Context(), supplyA)
		expect(t, err, a, TooFast, nil)
		if a.RetryAfter < want[0] || a.RetryAfter > want[1] {
			t.Errorf("%q: %s", h, a.RetryAfter)
		}
	}
}

func TestAConnectionIsReusedForAShortTimeOnly(t *testing.T) {
	ok := replyWith(200, golden(t, "g120.success.reply", 5))
	twice := func(t *testing.T, c *Client, between time.Duration) {
		for i := range 2 {
			a, err := c.Do(t.Context(), supplyA)
			expect(t, err, a, Success, nil)
			if i == 0 {
				time.Sleep(between)
			}
		}
	}
	for name, tc := range map[string]struct {
		reuse, between time.Duration
		conns          int32
	}{"at once": {time.Minute, 0, 1}, "too late": {50 * time.Millisecond, 200 * time.Millisecond, 2}, "never": {-1, 0, 2}} {
		s := newSite(t, ok)
		twice(t, s.client(t, func(c *Config) { c.TReuse = tc.reuse }), tc.between)
		if s.conns.Load() != tc.conns {
			t.Errorf("%s: %d connections, want %d", name, s.conns.Load(), tc.conns)
		}
	}
}

func TestAStaleConnectionNeverSendsTwice(t *testing.T) {
	ok := golden(t, "g120.success.reply", 5)
	for name, second := range map[string]http.HandlerFunc{
		"reset as we write":  hijack(func(tcp *net.TCPConn, _ net.Conn) { reset(tcp) }),
		"closed as we write": hijack(func(_ *net.TCPConn, c net.Conn) { _ = c.Close() }),
	} {
		var n atomic.Int32
		s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) == 1 {
				replyWith(200, ok)(w, r)
				return
			}
			second(w, r)
		})
		c := s.client(t)
		a, err := c.Do(t.Context(), supplyA)
		expect(t, err, a, Success, nil)
		var guards atomic.Int32
		a, err = c.Do(t.Context(), guarded(supplyA, &guards, nil))
		expect(t, err, a, InDoubt, nil)
		time.Sleep(20 * time.Millisecond)
		if n.Load() != 2 || guards.Load() != 1 || s.conns.Load() != 1 {
			t.Errorf("%s: %d requests on %d connections, guard ran %d times", name, n.Load(), s.conns.Load(), guards.Load())
		}
	}
	t.Run("closed while idle", func(t *testing.T) {
		s := newSite(t, replyWith(200, ok))
		c := s.client(t)
		a, err := c.Do(t.Context(), supplyA)
		expect(t, err, a, Success, nil)
		s.CloseClientConnections()
		var guards atomic.Int32
		a, err = c.Do(t.Context(), guarded(supplyA, &guards, nil))
		// The Transport may have noticed (a new connection, success) or not (the write
		// fails: not sent, or in doubt). What may not be is a second send.
		if a.Class != Success && a.Class != NotSent && a.Class != InDoubt || guards.Load() > 1 || s.seen.Load() > 2 {
			t.Errorf("%s, %v; %d requests, guard ran %d times", a.Class, err, s.seen.Load(), guards.Load())
		}
	})
}

// tap is a plain TCP server that counts the bytes of each connection and never
// answers; with first, it speaks at once.
type tap struct {
	net.Listener
	first string
	mu    sync.Mutex
	bytes map[string]int
	wg    sync.WaitGroup
}

func newTap(t testing.TB, first string) *tap {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	p := &tap{Listener: l, first: first, bytes: map[string]int{}}
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close() })
	return p
}

func (p *tap) serve(c net.Conn) {
	defer c.Close()
	p.count(c, 0)
	if p.first != "" {
		time.Sleep(50 * time.Millisecond) // until the client's guard runs
		_, _ = io.WriteString(c, p.first)
	}
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		p.count(c, n)
		if err != nil {
			return
		}
	}
}

func (p *tap) count(c net.Conn, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes[c.RemoteAddr().String()] += n
}

// stop waits until want connections were accepted and all have ended; it returns
// how many there were, and how many of them carried bytes.
func (p *tap) stop(want int) (conns, touched int) {
	for range 200 {
		p.mu.Lock()
		n := len(p.bytes)
		p.mu.Unlock()
		if n >= want {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.Listener.Close()
	p.wg.Wait()
	for _, n := range p.bytes {
		if n > 0 {
			touched++
		}
	}
	return len(p.bytes), touched
}

func (p *tap) client(t testing.TB) *Client {
	cfg := demoConfig(5)
	cfg.Endpoints[Single] = "http://" + p.Addr().String()
	cfg.TSingle = 5 * time.Second
	c, err := New(cfg)
	check(t, err)
	t.Cleanup(c.Close)
	return c
}

func TestARefusingGuardLeavesNoByteOnTheWire(t *testing.T) {
	no := errors.New("fenced")
	p := newTap(t, "")
	c := p.client(t)
	var guards atomic.Int32
	before := runtime.NumGoroutine()
	for range 20 {
		a, err := c.Do(t.Context(), guarded(supplyA, &guards, no))
		expect(t, err, a, NotSent, no)
		if !errors.Is(err, ErrGuard) {
			t.Errorf("%v is not ErrGuard", err)
		}
	}
	if conns, touched := p.stop(20); conns != 20 || touched != 0 || guards.Load() != 20 {
		t.Errorf("%d connections, %d with bytes, guard ran %d times", conns, touched, guards.Load())
	}
	for i := 0; runtime.NumGoroutine() > before+2; i++ { // the Transport ends its loops on its own
		if i > 100 {
			t.Fatalf("%d goroutines before, %d after", before, runtime.NumGoroutine())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestARefusingGuardDoesNotBreakTheNextCall(t *testing.T) {
	s := newSite(t, replyWith(200, golden(t, "g120.success.reply", 5)))
	c := s.client(t)
	for i := range 6 {
		var err error
		want := Success
		if i%2 == 1 { // on a reused connection too
			err, want = io.EOF, NotSent
		}
		var guards atomic.Int32
		a, err := c.Do(t.Context(), guarded(supplyA, &guards, err))
		expect(t, err, a, want, nil)
		if guards.Load() != 1 {
			t.Errorf("guard ran %d times", guards.Load())
		}
	}
	if s.seen.Load() != 3 {
		t.Errorf("%d requests", s.seen.Load())
	}
}

func TestCancellingWhileTheGuardRunsSendsNothing(t *testing.T) {
	p := newTap(t, "")
	c := p.client(t)
	ctx, cancel := context.WithCancel(t.Context())
	var ended atomic.Bool
	call := supplyA
	call.Guard = func() error {
		cancel()
		time.Sleep(50 * time.Millisecond)
		ended.Store(true)
		return nil
	}
	a, err := c.Do(ctx, call)
	expect(t, err, a, NotSent, context.Canceled)
	if !ended.Load() {
		t.Error("Do returned before its guard")
	}
	if _, touched := p.stop(1); touched != 0 {
		t.Error("bytes were written")
	}
}

func TestNothingLeavesAfterDoHasReturned(t *testing.T) {
	p := newTap(t, "")
	c := p.client(t)
	var doubts int
	for i := range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		call := supplyA
		call.Guard = func() error {
			if i%2 == 0 {
				cancel()
			} else {
				go cancel()
			}
			return nil
		}
		a, err := c.Do(ctx, call)
		cancel()
		switch a.Class {
		case InDoubt:
			doubts++
		case NotSent:
		default:
			t.Fatalf("%s, %v", a.Class, err)
		}
	}
	c.Close()
	if _, touched := p.stop(200); touched > doubts {
		t.Errorf("%d connections carried bytes, only %d calls are in doubt", touched, doubts)
	}
}

func TestCancellingAfterTheGuardIsInDoubt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := newSite(t, func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
	a, err := s.client(t).Do(ctx, supplyA)
	expect(t, err, a, InDoubt, context.Canceled)
}

func TestAnAnswerToNothingIsNoAnswer(t *testing.T) {
	ok := golden(t, "g120.success.reply", 5)
	p := newTap(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(ok), ok))
	call := supplyA
	call.Guard = func() error { time.Sleep(time.Second); return nil } // the answer is here by then, on a busy machine too
	a, err := p.client(t).Do(t.Context(), call)
	expect(t, err, a, NotSent, ErrReply)
	if _, touched := p.stop(1); touched > 0 {
		t.Error("bytes were written")
	}
}

func TestAPartlyWrittenBulkIsInDoubt(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = bufio.NewReader(c).Peek(10)
		reset(c.(*net.TCPConn))
	}()
	cfg := demoConfig(5)
	cfg.Endpoints[Bulk] = "http://" + l.Addr().String()
	c, err := New(cfg)
	check(t, err)
	a, err := c.Do(t.Context(), with(bulkB, func(c *Call) { c.Packs = manyPacks(MaxPacks) }))
	expect(t, err, a, InDoubt, nil)
}

func manyPacks(n int) []Pack {
	packs := make([]Pack, n)
	for i := range packs {
		packs[i].Serial = fmt.Sprintf("SN%012d", i)
	}
	return packs
}

func TestCallsRunSideBySide(t *testing.T) {
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) { replyWith(200, golden(t, "g120.success.reply", 5))(w, r) })
	c := s.client(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				if a, err := c.Do(t.Context(), supplyA); err != nil {
					t.Errorf("%s, %v", a.Class, err)
				}
			}
		})
	}
	wg.Wait()
	if s.seen.Load() != 80 {
		t.Errorf("%d requests", s.seen.Load())
	}
}

func TestErrorsTellNoSecret(t *testing.T) {
	s := newSite(t, replyWith(200, golden(t, "g120.login.reply", 5)))
	c := s.client(t)
	for _, call := range []Call{supplyA, with(supplyA, func(c *Call) { c.Packs = []Pack{{Serial: "Zk<7aQ0001 secret"}} })} {
		_, err := c.Do(t.Context(), call)
		if err == nil || strings.Contains(err.Error(), "Ex4mple") || strings.Contains(err.Error(), "Zk<7aQ") {
			t.Errorf("%v", err)
		}
	}
}
