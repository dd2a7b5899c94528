package httpdoor_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"decom/queue"
	httpdoor "decom/queue/doors/http"
	"decom/queue/queuetest"
	"decom/ratelimit"
)

// latencies posts n scans of one device, one after another, and returns how long each took.
func (b *bench) latencies(client *http.Client, who, name string, n int) []time.Duration {
	b.t.Helper()
	took := make([]time.Duration, 0, n)
	for i := range n {
		req, _ := http.NewRequestWithContext(b.t.Context(), "POST", b.url+"/v1/scans", strings.NewReader(packText))
		req.Header.Set("Authorization", "Bearer "+b.token[who])
		req.Header.Set("Content-Type", "text/plain")
		req.Header.Set("Idempotency-Key", fmt.Sprint(name, i))
		began := time.Now()
		resp, err := client.Do(req)
		if err != nil {
			b.t.Error(err)
			return took
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		took = append(took, time.Since(began))
		if resp.StatusCode != 202 {
			b.t.Errorf("%s: %s", who, resp.Status)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return took
}

func at99(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)*99/100]
}

// One device sends as fast as it can, with good scans and with bodies that never end; the
// next one's answers take what they took before. Over a real server: the wait is in fsync.
func TestTheFloodOfOneDeviceLeavesTheOthersLatencyAlone(t *testing.T) {
	srv := queuetest.StartServer(t, queuetest.ServerConfig{})
	conn, err := queue.Connect(t.Context(), queue.Config{URL: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Setup(t.Context(), []queue.Account{{Name: "a", Sites: []string{"nord", "sud"}}}, false); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, conn, func(c *httpdoor.Config, _ *httpdoor.Deps) { c.Rate = ratelimit.Rate{N: 200, Per: time.Second} })
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	const n = 150
	calm := b.latencies(client, "nord/desk", "calm", n)
	stop := make(chan struct{})
	var flood sync.WaitGroup
	var mu sync.Mutex
	codes := map[int]int{}
	for i := range 8 {
		flood.Go(func() {
			for k := 0; ; k++ {
				select {
				case <-stop:
					return
				default:
				}
				req, _ := http.NewRequest("POST", b.url+"/v1/scans", strings.NewReader(strings.Repeat(packText+"\n", 20)))
				req.Header.Set("Authorization", "Bearer "+b.token["nord/rowa"])
				req.Header.Set("Content-Type", "text/plain")
				req.Header.Set("Idempotency-Key", fmt.Sprint("flood", i, "-", k))
				resp, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				mu.Lock()
				codes[resp.StatusCode]++
				mu.Unlock()
				time.Sleep(2 * time.Millisecond) // what the network costs: this machine is also the flood's
			}
		})
	}
	stalled, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Close()
	fmt.Fprintf(stalled, "POST /v1/scans HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 1000\r\n\r\n]d2", b.token["nord/rowa"])
	flooded := b.latencies(client, "nord/desk", "flooded", n)
	close(stop)
	flood.Wait()
	t.Logf("99 of 100 within %v calm, %v flooded; the flood was told %v", at99(calm), at99(flooded), codes)
	if codes[429] == 0 {
		t.Errorf("the flood was no flood: %v", codes)
	}
	// The floor is for a busy machine; without pace and places it is seconds.
	if limit := max(5*at99(calm), time.Second); at99(flooded) > limit {
		t.Errorf("99 of 100 answers within %v, want %v", at99(flooded), limit)
	}
}

func TestABodyThatDoesNotComeEndsItsRequestOnly(t *testing.T) {
	b := newBench(t, nil, func(c *httpdoor.Config, _ *httpdoor.Deps) { c.BodyTime = 100 * time.Millisecond })
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/scans HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 1000\r\n\r\n]d2", b.token["nord/rowa"])
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != 408 {
		t.Fatalf("%v %+v", err, resp)
	}
	if a := b.post("nord/rowa", "text/plain", packText); a.StatusCode != 202 {
		t.Errorf("the next one: %s", a.Status)
	}
	// One that is refused before its body is read must not hang on it either.
	refused, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer refused.Close()
	fmt.Fprint(refused, "POST /v1/scans HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n]d2")
	_ = refused.SetReadDeadline(time.Now().Add(10 * time.Second))
	if resp, err := http.ReadResponse(bufio.NewReader(refused), nil); err != nil || resp.StatusCode != 401 {
		t.Errorf("without a token: %v %+v", err, resp)
	}
	// A stream of outcomes lives longer than a body may.
	if ids, _ := b.events("nord/rowa", "/v1/outcomes", "", 4); len(ids) != 4 {
		t.Errorf("a stream ended after %v", ids)
	}
}

func TestHealthIsToldWithoutAToken(t *testing.T) {
	b := newBench(t, nil, nil)
	for path, want := range map[string]int{"/livez": 200, "/readyz": 200} {
		if a := b.do("", "GET", path, "", ""); a.StatusCode != want {
			t.Errorf("%s: %s", path, a.Status)
		}
	}
	b.queue.set(func() { b.queue.down = true })
	if a := b.do("", "GET", "/readyz", "", ""); a.StatusCode != 503 {
		t.Errorf("/readyz without NATS: %s", a.Status)
	}
	if a := b.do("nord/rowa", "HEAD", "/v1/outcomes", "", ""); a.StatusCode != 405 {
		t.Errorf("HEAD of a stream: %s", a.Status)
	}
}

// certificate writes a certificate of its own for 127.0.0.1.
func certificate(t *testing.T, dir string, serial int64) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tpl := x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, &tpl, &tpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	for name, text := range map[string][]byte{certFile: certPEM, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile, pool
}

func TestTLSTakesARenewedCertificateWithoutARestart(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile, pool := certificate(t, dir, 1)
	b := newBench(t, nil, func(c *httpdoor.Config, _ *httpdoor.Deps) { c.CertFile, c.KeyFile = certFile, keyFile })
	serial := func() *big.Int {
		t.Helper()
		conn, err := tls.Dial("tcp", strings.TrimPrefix(b.url, "https://"), &tls.Config{RootCAs: pool})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber
	}
	if got := serial(); got.Int64() != 1 {
		t.Errorf("serial %v", got)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	if got := b.latencies(client, "nord/desk", "tls", 1); len(got) != 1 {
		t.Error("no answer over TLS")
	}
	time.Sleep(20 * time.Millisecond) // a newer modification time
	_, _, pool = certificate(t, dir, 2)
	if got := serial(); got.Int64() != 2 {
		t.Errorf("after the renewal: serial %v", got)
	}
}
