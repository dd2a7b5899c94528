package sim

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"decom/nmvs"
	"software.sslmate.com/src/go-pkcs12"
)

// mtls returns a client that trusts the authority and shows id; nil shows nothing.
func mtls(t testing.TB, p *PKI, id *Identity) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(p.CA) {
		t.Fatal("no authority")
	}
	conf := &tls.Config{RootCAs: pool}
	if id != nil {
		cert, err := id.TLS()
		if err != nil {
			t.Fatal(err)
		}
		// Shown whatever authorities the server names.
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	tr := &http.Transport{TLSClientConfig: conf}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func tlsRig(t testing.TB, dir string, set Settings) (*rig, *PKI, map[nmvs.Service]string) {
	t.Helper()
	p, err := NewPKI(dir, "DEMO-USER-01")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Accounts: accounts(), Settings: set, PKI: p})
	if err != nil {
		t.Fatal(err)
	}
	urls, stop, err := s.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stop() })
	return &rig{Sim: s, t: t, h: s.Handler()}, p, urls
}

func ping(url string, c *http.Client) error {
	body := `<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body><m:SinglePackPingRequest xmlns:m="urn:wsdltypes.nmvs.eu:v5.0" xmlns="urn:types.nmvs.eu:v5.0"><Input>a &lt; b</Input></m:SinglePackPingRequest></e:Body></e:Envelope>`
	resp, err := c.Post(url, "application/soap+xml", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && !strings.Contains(string(b), "<ns1:Output>a &lt; b</ns1:Output>") {
		err = fmt.Errorf("reply %s", b)
	}
	return err
}

func TestOnlyTheRightCertificateGetsThrough(t *testing.T) {
	r, p, urls := tlsRig(t, "", Settings{})
	url := urls[nmvs.Single]
	for name, tt := range map[string]struct {
		id   *Identity
		want string // in the error
	}{
		"right": {&p.Client, ""}, "none": {nil, "certificate required"}, "expired": {&p.Expired, "expired"}, "foreign": {&p.Foreign, "unknown certificate authority"},
	} {
		t.Run(name, func(t *testing.T) {
			err := ping(url, mtls(t, p, tt.id))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
	if c := r.Counts(); c.Calls["SinglePackPing"] != 1 {
		t.Errorf("calls %v: a refused handshake let a call through", c.Calls)
	}
	r.Advance(3 * 365 * 24 * time.Hour)
	if err := ping(url, mtls(t, p, &p.Client)); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("three years later: %v", err)
	}
	if err := ping(url, &http.Client{Transport: &http.Transport{}}); err == nil {
		t.Error("a client that does not know the authority trusts the server")
	}
}

func TestTheCertificateBelongsToTheUser(t *testing.T) {
	r, p, urls := tlsRig(t, "", Settings{AutoStock: AutoStock{On: true}, Login: Login{BindCertificate: true}})
	c := mtls(t, p, &p.Client)
	for user, want := range map[string]string{"DEMO-USER-01": codeSuccess, "DEMO-USER-02": codeCertificate} {
		resp, err := c.Post(urls[nmvs.Single], "text/xml", strings.NewReader(r.xml(ask{op: "G110", user: user})))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !strings.Contains(string(b), want) {
			t.Errorf("%s: %s", user, b)
		}
	}
}

func TestCertificateFilesLastOverRuns(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	_, p1, urls := tlsRig(t, dir, Settings{})
	if err := ping(urls[nmvs.Single], mtls(t, p1, &p1.Client)); err != nil {
		t.Fatal(err)
	}
	p2, err := NewPKI(dir, "DEMO-USER-01")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p1.CA, p2.CA) || !bytes.Equal(p1.Client.Cert, p2.Client.Cert) {
		t.Error("the second run made new certificates")
	}
	p3, err := NewPKI(dir, "OTHER-USER")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p1.CA, p3.CA) || bytes.Equal(p1.Client.Cert, p3.Client.Cert) {
		t.Error("another user needs another certificate of the same authority")
	}
	for _, id := range []Identity{p3.Client, p3.Expired, p3.Foreign} {
		b, err := os.ReadFile(id.P12File)
		if err != nil {
			t.Fatal(err)
		}
		word, err := os.ReadFile(id.PassphraseFile)
		if err != nil {
			t.Fatal(err)
		}
		_, leaf, _, err := pkcs12.DecodeChain(b, strings.TrimSpace(string(word)))
		if err != nil || leaf.Subject.CommonName != "OTHER-USER" {
			t.Errorf("%s: %v", id.P12File, err)
		}
		if st, err := os.Stat(id.KeyFile); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", id.KeyFile, st, err)
		}
	}
	if _, err := p2.Issue("extra", "X-USER", time.Now().AddDate(1, 0, 0)); err != nil {
		t.Error(err)
	}
	if _, err := tls.LoadX509KeyPair(filepath.Join(dir, "extra.pem"), filepath.Join(dir, "extra-key.pem")); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewPKI(dir, "X"); err == nil {
		t.Error("a broken authority was accepted or replaced in silence")
	}
}

func TestStartServesEachServiceWhereAsked(t *testing.T) {
	r := newRig(t, 4, Settings{})
	a := "127.0.0.1:0"
	urls, stop, err := r.Start(t.Context(), a, a, a, a)
	if err != nil {
		t.Fatal(err)
	}
	hosts := map[string]bool{}
	for svc, u := range urls {
		p, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		hosts[p.Host] = true
		if p.Path != Path(svc, 4) || !strings.HasSuffix(p.Path, "V40") {
			t.Errorf("%s: %s", svc, u)
		}
	}
	if len(hosts) != 4 {
		t.Errorf("%d ports for four addresses", len(hosts))
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error("second stop:", err)
	}
	if _, err := http.Get(urls[nmvs.Single]); err == nil {
		t.Error("still serving after stop")
	}
	if _, _, err := newRig(t, 5, Settings{}).Start(t.Context(), a, a); err == nil {
		t.Error("two addresses were accepted")
	}
	if _, _, err := newRig(t, 5, Settings{}).Start(t.Context(), "256.0.0.1:1"); err == nil {
		t.Error("an impossible address was accepted")
	}
	ctx, cancel := context.WithCancel(t.Context())
	urls, stop, err = newRig(t, 5, Settings{}).Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	_ = stop()
	if _, err := http.Get(urls[nmvs.Single]); err == nil {
		t.Error("still serving after its context ended")
	}
}

func TestStopEndsHangingCalls(t *testing.T) {
	r := newRig(t, 5, Settings{Faults: []Rule{{Fault: Fault{Kind: Hang}}}})
	urls, stop, err := r.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { _, _, err := send(t.Context(), urls[nmvs.Single], r.xml(ask{op: "G120"})); done <- err }()
	for r.Counts().Unanswered == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-done:
		if err == nil {
			t.Error("a hanging call was answered")
		}
	case <-time.After(5 * time.Second):
		t.Error("a hanging call outlived stop")
	}
}

func TestHTTPRefusesWhatIsNotSOAP(t *testing.T) {
	r := newRig(t, 5, Settings{})
	for _, tt := range []struct {
		method, path, kind string
		status             int
	}{
		{"GET", Path(nmvs.Single, 5), "text/xml", 405}, {"POST", Path(nmvs.Single, 4), "text/xml", 404}, {"POST", "/", "text/xml", 404},
		{"POST", Path(nmvs.Single, 5), "application/json", 415}, {"POST", Path(nmvs.Single, 5), "", 415},
		{"POST", Path(nmvs.Single, 5), `application/soap+xml; charset=utf-8; action="urn:Nonsense"`, 200}, {"POST", Path(nmvs.Single, 5), "text/xml", 200},
	} {
		req := httptest.NewRequest(tt.method, tt.path, strings.NewReader(r.xml(ask{op: "G110"})))
		req.Header.Set("Content-Type", tt.kind)
		w := httptest.NewRecorder()
		r.h.ServeHTTP(w, req)
		if w.Code != tt.status {
			t.Errorf("%+v: HTTP %d", tt, w.Code)
		}
	}
}

func TestConfigReportsEverythingWrongAtOnce(t *testing.T) {
	bad := accounts()
	bad[1] = bad[0]
	bad = append(bad, Account{ClientLoginID: "a_b", UserID: "abcd", Password: pass}, Account{ClientLoginID: "a", UserID: "abcd", Password: "weak"})
	_, err := New(Config{Version: 9, Accounts: bad, Settings: Settings{Limit: Limit{Mode: "x"}, Maintenance: Maintenance{Mode: "y"}, Quirks: Quirks{Reasons: 21}, Rules: Rules{SchemaStatus: 500, ListCode: "LIST"}}})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, part := range []string{"version: 9", "accounts[1]", "there twice", "accounts[3]", "accounts[4].password", "limit.mode", "maintenance.mode", "quirks.reasons", "schema_status", "list_code"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not reported in\n%v", part, err)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("no accounts")
	}
	s, err := New(Config{Accounts: accounts()})
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range []Stock{{Code: "x"}, {Code: gtin1, Serial: "A"}, {Code: gtin1, Serial: "A", Batch: "B", Expiry: "991332"}, {Code: gtin1, Serial: "a b", Batch: "B", Expiry: "991231"}, {Scheme: "EAN", Code: gtin1}} {
		if s.AddStock(st) == nil {
			t.Errorf("stock %+v was accepted", st)
		}
	}
}

func TestManyCallersLoseNothing(t *testing.T) {
	r := newRig(t, 5, Settings{AutoStock: AutoStock{On: true}, Bulk: BulkRules{PerPack: Duration(time.Microsecond)},
		Faults: []Rule{{P: 0.05, Fault: Fault{Kind: Code, When: Before}}, {P: 0.05, Fault: Fault{Kind: Code, When: After}}, {P: 0.05, Fault: Fault{Kind: HTTP, When: Late, Delay: Duration(time.Millisecond)}}}})
	control := r.ControlHandler()
	const workers, each = 8, 60
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			mine := &rig{Sim: r.Sim, t: t, h: r.h}
			for i := range each {
				c := fmt.Sprintf("W%d-%d", w, i)
				mine.do(ask{op: "G120", c: c, sn: c})
				mine.do(ask{op: "G125", c: c + "B", serials: []string{c + "X", c + "Y"}})
				switch i % 20 {
				case 5:
					r.Advance(time.Millisecond)
				case 10:
					control.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("PUT", "/settings", strings.NewReader(`{"latency":{"jitter":"10us"}}`)))
				case 15:
					r.Verdict()
					r.LedgerSince(uint64(i))
				}
			}
		})
	}
	wg.Wait()
	r.Advance(time.Hour)
	v := r.Verdict()
	if !v.Clean || v.Counts.Calls["G120"] != workers*each || v.Counts.Calls["G125"] != workers*each {
		t.Errorf("%s: %+v", v, v.Counts)
	}
	effects := 0
	for _, e := range r.Ledger() {
		if e.Effect {
			effects++
		}
	}
	if c := v.Counts; effects != c.Effects["G120"]+c.Effects["G125"] || c.Effects["G120"] != workers*each-befores(r, "G120") || befores(r, "G120") == 0 {
		t.Errorf("%d effects in the ledger: %+v", effects, c)
	}
}

// befores counts the calls of op that a fault kept from having an effect.
func befores(r *rig, op string) (n int) {
	for _, e := range r.Ledger() {
		if e.Op == op && e.Fault == "before code ERROR" {
			n++
		}
	}
	return n
}

func BenchmarkSingle(b *testing.B) {
	r := newRig(b, 5, Settings{AutoStock: AutoStock{On: true}})
	bodies := make([][]byte, b.N)
	for i := range bodies {
		bodies[i] = []byte(r.xml(ask{op: "G120", sn: fmt.Sprint("P", i)}))
	}
	path := Path(nmvs.Single, 5)
	w := &nullWriter{h: http.Header{}}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		req := &http.Request{Method: "POST", URL: &url.URL{Path: path}, Header: http.Header{"Content-Type": {"application/soap+xml; charset=utf-8"}},
			Body: io.NopCloser(bytes.NewReader(bodies[i])), ContentLength: int64(len(bodies[i]))}
		r.h.ServeHTTP(w, req)
	}
	if n := r.Counts().Effects["G120"]; n != b.N {
		b.Fatalf("%d effects of %d", n, b.N)
	}
}

type nullWriter struct{ h http.Header }

func (w *nullWriter) Header() http.Header         { return w.h }
func (w *nullWriter) WriteHeader(int)             {}
func (w *nullWriter) Write(b []byte) (int, error) { return len(b), nil }
