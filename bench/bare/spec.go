package bare

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// Spec says where everything is and how much there is to do.
type Spec struct {
	NATS     string   `json:"nats"`
	Redis    string   `json:"redis"`
	Single   string   `json:"single"` // URL of the simulator's service
	Mixed    string   `json:"mixed"`
	CA       string   `json:"ca"` // PEM files
	Cert     string   `json:"cert"`
	Key      string   `json:"key"`
	Client   string   `json:"client"` // NMVS login
	User     string   `json:"user"`
	Password string   `json:"password"`
	Site     string   `json:"site"`
	Subjects []string `json:"subjects"` // one worker of Lean each
	Packs    int      `json:"packs"`    // scans that lie in the stream
	Batch    int      `json:"batch"`
	Parallel int      `json:"parallel"` // calls at once of Plain
}

// Done is what a pipeline did.
type Done struct {
	Packs int     `json:"packs"`
	Rate  float64 `json:"packs_per_second"` // from the first batch done to the last
	Took  float64 `json:"took_seconds"`
}

// client is an HTTP/1.1 client with the account's certificate, whose connections stay.
func (s *Spec) client(conns int) (*http.Client, error) {
	ca, err := os.ReadFile(s.CA)
	if err != nil {
		return nil, err
	}
	cert, err := tls.LoadX509KeyPair(s.Cert, s.Key)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s holds no certificate", s.CA)
	}
	var p http.Protocols
	p.SetHTTP1(true)
	return &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}}, Protocols: &p,
		MaxIdleConnsPerHost: conns, MaxConnsPerHost: conns, WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10,
	}}, nil
}

// errAnswer marks an answer of the simulator that is not a success.
var errAnswer = errors.New("not a success")

// post sends a SOAP request and reads the answer into buf.
func post(ctx context.Context, c *http.Client, url, action string, body []byte, buf *bytes.Buffer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", `application/soap+xml; charset=utf-8; action="`+action+`"`)
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	buf.Reset()
	if _, err := io.Copy(buf, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: HTTP %d", errAnswer, resp.StatusCode)
	}
	return nil
}

// pack is what a scan of the bench names.
type pack struct{ code, serial, expiry, batch string }

// cut reads the bench's own data carriers and nothing else: fixed places, no checks.
func cut(text string) (p pack, ok bool) {
	const head = len("]d201") // then 14 digits, 21 and the serial
	if len(text) < head+16 {
		return p, false
	}
	p.code = text[head : head+14]
	serial, rest, ok := strings.Cut(text[head+16:], "\x1d")
	if !ok || len(rest) < 10 {
		return p, false
	}
	p.serial, p.expiry, p.batch = serial, rest[2:8], rest[10:]
	return p, true
}
