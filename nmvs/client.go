package nmvs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"time"
)

// Client speaks to NMVS for one account. It makes one attempt on the wire: no
// retry, no sleep, no log. Safe for concurrent use.
type Client struct {
	cfg   Config
	login *login
	http  *http.Transport
	urls  [len(serviceNames)]*url.URL
}

// New returns a client; it opens no connection. A password file must be readable
// now.
func New(cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("nmvs: %w", err)
	}
	cfg.setDefaults()
	c := &Client{cfg: cfg, login: &login{cfg: cfg.Credentials}}
	if _, err := c.login.secrets(); err != nil {
		return nil, fmt.Errorf("nmvs: %w", err)
	}
	for svc, s := range cfg.Endpoints {
		u, err := url.Parse(s)
		if err != nil {
			return nil, fmt.Errorf("nmvs: endpoints.%s: %w", svc, err)
		}
		c.urls[svc] = u
	}
	c.http = c.transport()
	return c, nil
}

// writeBuffer holds a request's headers until the guard has let it pass; they
// are some 500 bytes.
const writeBuffer = 32 << 10

// idlePerHost is above the calls in flight of one account.
const idlePerHost = 64

func (c *Client) transport() *http.Transport {
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{Timeout: c.cfg.TConnect}).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &wire{Conn: conn}, nil
		},
		TLSClientConfig:     c.tlsConfig(),
		TLSHandshakeTimeout: c.cfg.TConnect,
		Protocols:           new(http.Protocols),
		DisableCompression:  true,
		MaxIdleConnsPerHost: idlePerHost,
		WriteBufferSize:     writeBuffer,
		IdleConnTimeout:     max(c.cfg.TReuse, 0),
		DisableKeepAlives:   c.cfg.TReuse < 0,
	}
	t.Protocols.SetHTTP1(true)
	if c.cfg.Proxy != "" {
		if u, err := url.Parse(c.cfg.Proxy); err == nil {
			t.Proxy = http.ProxyURL(u)
		}
	}
	return t
}

func (c *Client) tlsConfig() *tls.Config {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.cfg.CA != nil {
		cfg.RootCAs = x509.NewCertPool()
		cfg.RootCAs.AppendCertsFromPEM(c.cfg.CA)
	}
	if cert := c.cfg.Certificate; cert != nil {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert.Current() }
	}
	return cfg
}

// Close drops the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Stamp names the present version of the credentials: it changes when the
// password or the certificate does, and tells neither.
func (c *Client) Stamp() string {
	s, _ := c.login.secrets()
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q", s.clientLoginID, s.userID, s.password)
	if c.cfg.Certificate != nil {
		fmt.Fprintf(h, " %q", c.cfg.Certificate.stampNow())
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Do makes the call once. The error, always a *[Error], is nil exactly when the
// answer's class is [Class.Answered]; the answer's class is right in both cases.
//
// When Do returns nothing of the call can reach the wire any more. Cancelling
// ctx after the guard has let the call pass leaves it in doubt; before, it is
// [NotSent].
func (c *Client) Do(ctx context.Context, call Call) (Answer, error) {
	op, err := c.operation(&call)
	if err == nil && c.urls[op.Service] == nil {
		err = fmt.Errorf("%s service: %w", op.Service, ErrNotConfigured)
	}
	if err != nil {
		return c.fail(&call, op, Answer{Finding: Finding{Class: unsendable(err)}}, err)
	}
	s, err := c.login.secrets()
	if err != nil {
		return c.fail(&call, op, Answer{Finding: Finding{Class: Login}}, err)
	}
	buf := takeBuffer()
	if *buf, err = c.render((*buf)[:0], &call, op, s); err != nil {
		giveBuffer(buf)
		return c.fail(&call, op, Answer{Finding: Finding{Class: unsendable(err)}}, err)
	}
	if call.SHA != "" && call.SHA != c.digestOf(*buf) {
		giveBuffer(buf)
		return c.fail(&call, op, Answer{Finding: Finding{Class: NotSent}}, ErrBytes)
	}
	ans, err := c.exchange(ctx, &call, op, buf)
	if !ans.Class.Answered() {
		return c.fail(&call, op, ans, err)
	}
	return ans, nil
}

// unsendable classes a call that was not even rendered.
func unsendable(err error) Class {
	if errors.Is(err, ErrCall) {
		return Format
	}
	return NotSent
}

func (c *Client) fail(call *Call, op Operation, a Answer, err error) (Answer, error) {
	a.C = call.C
	return a, &Error{Op: op.Code, C: call.C, Class: a.Class, Code: a.Code, Status: a.Status, Err: err}
}

// exchange sends the rendered request and reads the answer. It owns buf.
func (c *Client) exchange(ctx context.Context, call *Call, op Operation, buf *[]byte) (Answer, error) {
	wait := c.cfg.TSingle
	if op.Service == Bulk || op.Service == Mixed {
		wait = c.cfg.TBulk
	}
	own, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(c.cfg.TConnect, func() { cancel(ErrTimeout) })
	defer timer.Stop()
	out := newRequest(call.Guard, func() { timer.Reset(wait) })
	defer func() {
		if out.bufferFree() { // else the Transport may still read it: left to the collector
			giveBuffer(buf)
		}
	}()

	req := &http.Request{
		Method: http.MethodPost, URL: c.urls[op.Service], Host: c.urls[op.Service].Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"Content-Type": {`application/soap+xml; charset=utf-8; action="` + op.Action() + `"`},
			"Accept":       {"application/soap+xml, text/xml"},
			"User-Agent":   {c.cfg.Software.Name + "/" + c.cfg.Software.Version},
		},
		// No GetBody and no Idempotency-Key: either would let the Transport send twice.
		// The body's type is one that the Transport knows to be in memory, so that it
		// writes headers and body in one go.
		Body: io.NopCloser(bytes.NewReader(*buf)), ContentLength: int64(len(*buf)),
	}
	resp, err := c.http.RoundTrip(req.WithContext(out.trace(own)))
	if err != nil {
		return c.broken(own, out, err)
	}
	defer resp.Body.Close()
	if !out.letPass() { // an answer to nothing
		return c.broken(own, out, replyError("HTTP %d came before the request was written", resp.StatusCode))
	}
	return c.receive(own, call, op, out, resp)
}

// broken classes a call that had no whole answer.
func (c *Client) broken(ctx context.Context, out *request, err error) (Answer, error) {
	if cause := context.Cause(ctx); cause != nil {
		err = cause // says more than "context canceled"
	}
	may, guardErr := out.sent()
	a := Answer{Finding: Finding{Class: InDoubt, Alert: AlertMaybe}}
	certErr, isCert := errors.AsType[*CertError](err)
	switch {
	case guardErr != nil:
		a.Finding, err = Finding{Class: NotSent}, guardErr
	case isCert:
		a.Finding, err = Finding{Class: Login}, certErr
	case out.firstOnConn() && (refusedCertificate(err) || refusedCertificate(out.lastWord())):
		// TLS 1.3 says so on the first read only; nothing was processed before it.
		a.Finding = Finding{Class: Login}
	case !may:
		a.Finding = Finding{Class: NotSent}
	}
	return a, err
}

// refusedCertificate recognises the TLS alerts with which a server turns down a
// client certificate (RFC 8446 section 6.2). crypto/tls gives the alert's number
// in a type of its own, behind an OpError.
func refusedCertificate(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" || op.Err == nil {
		return false
	}
	v := reflect.ValueOf(op.Err)
	if v.Kind() != reflect.Uint8 {
		return false
	}
	switch v.Uint() {
	case 42, 43, 44, 45, 46, 48, 49, 116: // bad, unsupported, revoked, expired, unknown, unknown CA, access denied, required
		return true
	}
	return false
}

// receive reads and judges the answer, whatever the HTTP status is.
func (c *Client) receive(ctx context.Context, call *Call, op Operation, out *request, resp *http.Response) (Answer, error) {
	in := &bounded{r: resp.Body, left: c.cfg.MaxReply}
	r, err := decode(in, c.cfg.Version, op.Code, call)
	var a Answer
	if err == nil {
		a, err = c.judge(call, op, r)
	} else if in.failed != nil { // the connection, not the text
		a, err = c.broken(ctx, out, in.failed)
	} else {
		a.Finding = Finding{Class: InDoubt, Alert: AlertMaybe}
		if cause := context.Cause(ctx); cause != nil { // the server answered our hanging up
			err = fmt.Errorf("%w: %w", cause, err)
		}
	}
	a.C, a.Status, a.RetryAfter = call.C, resp.StatusCode, retryAfter(resp.Header.Get("Retry-After"))
	if a.Code == "" && !a.Class.Answered() {
		if class, ok := c.byStatus(resp.StatusCode); ok {
			a.Class, a.Alert = class, AlertNo
			err = fmt.Errorf("%s", http.StatusText(resp.StatusCode))
		}
	}
	return a, err
}

// byStatus classes an answer without a readable return code (nmvs-interface.md
// 1.19). A status that is not listed leaves the call in doubt.
func (c *Client) byStatus(status int) (Class, bool) {
	switch {
	case status == 401 || status == 403:
		return Login, true
	case status == 429:
		return TooFast, true
	case status >= 300 && status < 400, status == 404, status == 405, status == 413, status == 415:
		return Setup, true
	case status == 503 && c.cfg.TrustUnavailable:
		return Busy, true
	}
	return 0, false
}

// retryAfter reads both forms of the header: seconds and a date.
func retryAfter(h string) time.Duration {
	if h == "" {
		return 0
	}
	if n, err := strconv.Atoi(h); err == nil {
		return time.Duration(min(max(n, 0), 86400)) * time.Second
	}
	if t, err := http.ParseTime(h); err == nil {
		return min(max(time.Until(t), 0), 24*time.Hour)
	}
	return 0
}

// bounded ends a reply that is too long, and remembers a read error.
type bounded struct {
	r      io.Reader
	left   int64
	failed error
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, ErrTooLong
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, ErrTooLong
	}
	if err != nil && err != io.EOF {
		b.failed = err
	}
	return n, err
}
