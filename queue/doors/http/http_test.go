package httpdoor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"decom/queue"
	httpdoor "decom/queue/doors/http"
	"decom/queue/queuetest"
	"decom/ratelimit"
	"decom/worker/scan"
)

const (
	packText = "]d20103400930000007217X4F8L2\x1d17281100\x1d10LOT42"
	otherOne = "]d20103400930000007217X4F8L3\x1d17281100\x1d10LOT42"
)

// faultyQueue is a queue whose next publishes fail, without effect or with it.
type faultyQueue struct {
	httpdoor.Queue
	mu    sync.Mutex
	lost  int  // stored, and the answer got lost; guarded by mu
	fails int  // not stored; guarded by mu
	part  bool // of a batch only the first is stored; guarded by mu
	down  bool // guarded by mu
}

var errInjected = errors.New("injected fault")

func (q *faultyQueue) set(change func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	change()
}

func (q *faultyQueue) Up() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.down && q.Queue.Up()
}

func (q *faultyQueue) PublishScans(ctx context.Context, scans []queue.Scan) ([]queue.Ack, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.fails > 0:
		q.fails--
		return make([]queue.Ack, len(scans)), errInjected
	case q.lost > 0:
		q.lost--
		_, _ = q.Queue.PublishScans(ctx, scans)
		return make([]queue.Ack, len(scans)), errInjected
	case q.part:
		q.part = false
		acks, _ := q.Queue.PublishScans(ctx, scans[:1])
		return append(acks, make([]queue.Ack, len(scans)-1)...), errInjected
	}
	return q.Queue.PublishScans(ctx, scans)
}

// bench is a door, its queue, and the tokens of three devices and a site.
type bench struct {
	t      *testing.T
	broker *queuetest.Broker
	queue  *faultyQueue
	door   *httpdoor.Door
	url    string
	file   string // of the tokens
	token  map[string]string
	check  func(*testing.T, *http.Request, *http.Response, []byte) // of each exchange
}

func newBench(t *testing.T, q httpdoor.Queue, change func(*httpdoor.Config, *httpdoor.Deps)) *bench {
	t.Helper()
	b := &bench{t: t, token: map[string]string{}, file: filepath.Join(t.TempDir(), "tokens"), check: conforms}
	if q == nil {
		b.broker = queuetest.NewBroker(t, queue.Account{Name: "a", Sites: []string{"nord", "sud"}})
		q = b.broker.Conn()
	}
	b.queue = &faultyQueue{Queue: q}
	var lines []string
	for _, who := range []httpdoor.Principal{{Site: "nord", Device: "rowa"}, {Site: "nord", Device: "desk"}, {Site: "sud", Device: "rowa"}, {Site: "nord", Device: httpdoor.AnyDevice}} {
		secret, line, err := httpdoor.NewToken(who)
		if err != nil {
			t.Fatal(err)
		}
		b.token[who.Site+"/"+who.Device] = secret
		lines = append(lines, line+" a note")
	}
	if err := os.WriteFile(b.file, []byte("# tokens\n\n"+strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := httpdoor.Config{Listen: "127.0.0.1:0", TokensFile: b.file, Rate: ratelimit.Rate{N: 10000, Per: time.Second}, Beat: 100 * time.Millisecond}
	deps := httpdoor.Deps{Queue: b.queue, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Read: func(e scan.Event) *httpdoor.Warning {
		if strings.HasPrefix(e.Scan, "]D2") {
			return &httpdoor.Warning{Result: scan.Rejected, Reason: "case", Message: scan.Message(e.Op, scan.Rejected, "case")}
		}
		return nil
	}}
	if change != nil {
		change(&cfg, &deps)
	}
	var err error
	if b.door, err = httpdoor.New(cfg, deps); err != nil {
		t.Fatal(err)
	}
	ln, err := b.door.Listen()
	if err != nil {
		t.Fatal(err)
	}
	scheme := "http://"
	if cfg.CertFile != "" {
		scheme = "https://"
	}
	b.url = scheme + ln.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.door.Serve(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return b
}

// answer is what came back.
type answer struct {
	*http.Response
	body []byte
	v    struct {
		Stream    string
		Sequence  uint64
		Duplicate bool
		ID        string
		Site      string
		Device    string
		Stored    int
		Refused   int
		Code      string
		Detail    string
		Why       string
		Warning   *httpdoor.Warning
		Items     []httpdoor.Receipt
	}
}

func (b *bench) do(who, method, path, contentType, body string, header ...string) answer {
	b.t.Helper()
	req := httptest.NewRequestWithContext(b.t.Context(), method, b.url+path, strings.NewReader(body))
	req.RequestURI = ""
	if who != "" {
		req.Header.Set("Authorization", "Bearer "+b.token[who])
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	a := answer{Response: resp}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		b.t.Fatal(err)
	}
	if strings.Contains(resp.Header.Get("Content-Type"), "json") && method != "HEAD" {
		if err := json.Unmarshal(a.body, &a.v); err != nil {
			b.t.Fatalf("%s: %v", a.body, err)
		}
	}
	if b.check != nil {
		b.check(b.t, req, resp, a.body)
	}
	return a
}

func (b *bench) post(who, contentType, body string, header ...string) answer {
	b.t.Helper()
	return b.do(who, "POST", "/v1/scans", contentType, body, header...)
}

// scans returns what the stream has, as the worker reads it.
func (b *bench) scans() []scan.Event {
	b.t.Helper()
	var all []scan.Event
	for {
		ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Millisecond)
		ds, err := b.broker.Conn().Scans("a").Fetch(ctx, 1000, time.Millisecond, 0)
		cancel()
		if err != nil || len(ds) == 0 {
			return all
		}
		for _, d := range ds {
			e, err := scan.Decode(d.Data(), d.Meta())
			if err != nil {
				b.t.Errorf("a stored event is malformed: %v: %s", err, d.Data())
			}
			all = append(all, e)
		}
	}
}

func quoted(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s)
	return strings.TrimSpace(b.String())
}

func TestEveryFormOfAScanIsStoredAsTheSameEvent(t *testing.T) {
	object := `{"id":"e1","op":"verify","scan":` + quoted(packText) + `}`
	cloud := `{"specversion":"1.0","id":"e1","type":"t","source":"s","data":{"op":"verify","scan":` + quoted(packText) + `}}`
	for _, tc := range []struct{ name, contentType, body, query, key string }{
		{"JSON object", "application/json", object, "", ""},
		{"JSON object with a charset", "application/json; charset=utf-8", " \n" + object + "\n", "", ""},
		{"CloudEvent", "application/cloudevents+json", cloud, "", ""},
		{"JSON without a type", "", object, "", ""},
		{"JSON from curl's --data", "application/x-www-form-urlencoded", object, "", ""},
		{"barcode", "text/plain", packText, "?op=verify", "e1"},
		{"barcode with a line end", "text/plain; charset=us-ascii", packText + "\r\n", "?op=verify", `"e1"`},
		{"barcode from curl's --data", "application/x-www-form-urlencoded", packText, "?op=verify", "e1"},
		{"JSON string", "application/json", quoted(packText), "?op=verify", "e1"},
		{"JSON string as text", "text/plain", quoted(packText), "?op=verify", "e1"},
		{"JSON event as text", "text/plain", object, "", ""},
		{"key beside an id", "application/json", object, "", "other"},
		{"empty fields", "application/json", `{"id":"","op":null,"SCAN":` + quoted(packText) + `}`, "?op=verify", "e1"},
		{"id in capitals", "application/json", `{"ID":"e1","op":"verify","scan":` + quoted(packText) + `}`, "", "other"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, nil, nil)
			a := b.do("nord/rowa", "POST", "/v1/scans"+tc.query, tc.contentType, tc.body, "Idempotency-Key", tc.key)
			if a.StatusCode != 202 || a.v.Sequence != 1 || a.v.Duplicate || a.v.Stream != "DECOM_SCANS" || a.v.ID != "e1" {
				t.Fatalf("%s: %s", a.Status, a.body)
			}
			got := b.scans()
			if len(got) != 1 || got[0].ID != "e1" || got[0].Op != scan.Verify || got[0].Scan != packText || got[0].Source() != "nord/rowa" {
				t.Errorf("stored %+v", got)
			}
		})
	}
}

func TestAListIsStoredInOrderAndOneWrongItemLosesNoOther(t *testing.T) {
	one, two := `{"id":"1","scan":`+quoted(packText)+`}`, `{"id":"2","scan":`+quoted(otherOne)+`}`
	wrong := `{"id":"bad","op":"eat","scan":"x"}`
	for _, tc := range []struct{ name, contentType, body string }{
		{"array", "application/json", "[" + one + "," + wrong + "," + two + "]"},
		{"array of unknown type", "", "[" + one + "," + wrong + "," + two + "]"},
		{"JSON lines", "application/x-ndjson", one + "\n" + wrong + "\r\n\n" + two},
		{"JSON lines of unknown type", "", one + "\n" + wrong + "\n" + two + "\n"},
		{"text lines", "text/plain", one + "\n" + wrong + "\n" + two + "\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, nil, nil)
			a := b.post("nord/rowa", tc.contentType, tc.body)
			if a.StatusCode != 207 || a.v.Stored != 2 || a.v.Refused != 1 || len(a.v.Items) != 3 {
				t.Fatalf("%s: %s", a.Status, a.body)
			}
			x, y, z := a.v.Items[0], a.v.Items[1], a.v.Items[2]
			if x.Sequence != 1 || z.Sequence != 2 || y.Status != 400 || y.Problem.Code != "malformed" || y.ID != "bad" || y.Problem.Why == "" || z.Index != 2 {
				t.Errorf("%s", a.body)
			}
			if got := b.scans(); len(got) != 2 || got[0].ID != "1" || got[1].ID != "2" {
				t.Errorf("stored %+v", got)
			}
		})
	}
}

func TestWrongRequestsAreToldInOneSentenceAndStoreNothing(t *testing.T) {
	b := newBench(t, nil, func(c *httpdoor.Config, _ *httpdoor.Deps) { c.MaxItems, c.MaxBody = 3, 70000 })
	ok := `{"scan":` + quoted(packText) + `}`
	for _, tc := range []struct {
		name, who, method, path, contentType, body string
		header                                     []string
		status                                     int
		code                                       string
	}{
		{"no token", "", "POST", "/v1/scans", "application/json", ok, nil, 401, "no_token"},
		{"unknown token", "", "POST", "/v1/scans", "application/json", ok, []string{"Authorization", "Bearer decom_x"}, 401, "no_token"},
		{"token as a password", "", "POST", "/v1/scans", "application/json", ok, []string{"Authorization", "Basic " + b.token["nord/rowa"]}, 401, "no_token"},
		{"another site", "nord/rowa", "POST", "/v1/scans?site=sud", "application/json", ok, nil, 403, "other_source"},
		{"another device", "nord/rowa", "POST", "/v1/scans?device=desk", "application/json", ok, nil, 403, "other_source"},
		{"outcomes of another device", "nord/rowa", "GET", "/v1/outcomes?device=desk", "", "", nil, 403, "other_source"},
		{"a site's token without a device", "nord/*", "POST", "/v1/scans", "application/json", ok, nil, 400, "which_device"},
		{"a site's token with a wrong device", "nord/*", "POST", "/v1/scans?device=a.b", "application/json", ok, nil, 400, "parameter"},
		{"no address", "nord/rowa", "GET", "/v2/scans", "", "", nil, 404, "not_found"},
		{"method", "nord/rowa", "PUT", "/v1/scans", "application/json", ok, nil, 405, "method"},
		{"XML", "nord/rowa", "POST", "/v1/scans", "application/xml", "<x/>", nil, 415, "content_type"},
		{"gzip", "nord/rowa", "POST", "/v1/scans", "application/json", ok, []string{"Content-Encoding", "gzip"}, 415, "content_type"},
		{"broken array", "nord/rowa", "POST", "/v1/scans", "application/json", "[" + ok, nil, 400, "unreadable"},
		{"broken object", "nord/rowa", "POST", "/v1/scans", "application/json", ok[:9], nil, 400, "malformed"},
		{"number", "nord/rowa", "POST", "/v1/scans", "application/json", "17", nil, 400, "malformed"},
		{"not UTF-8", "nord/rowa", "POST", "/v1/scans", "application/json", "{\"scan\":\"\xff\"}", nil, 400, "malformed"},
		{"no fields", "nord/rowa", "POST", "/v1/scans", "application/json", "{}", nil, 400, "malformed"},
		{"empty", "nord/rowa", "POST", "/v1/scans", "application/json", "", nil, 400, "empty"},
		{"empty array", "nord/rowa", "POST", "/v1/scans", "application/json", "[]", nil, 400, "empty"},
		{"blank lines", "nord/rowa", "POST", "/v1/scans", "text/plain", "\n\r\n", nil, 400, "empty"},
		{"many", "nord/rowa", "POST", "/v1/scans", "application/json", "[" + strings.Repeat(ok+",", 3) + ok + "]", nil, 413, "too_large"},
		{"large", "nord/rowa", "POST", "/v1/scans", "text/plain", strings.Repeat("x", 70001), nil, 413, "too_large"},
		{"large event", "nord/rowa", "POST", "/v1/scans", "text/plain", strings.Repeat("x", 65536), nil, 400, "malformed"},
		{"key too long", "nord/rowa", "POST", "/v1/scans", "application/json", ok, []string{"Idempotency-Key", strings.Repeat("x", 65)}, 400, "idempotency_key"},
		{"key of nothing", "nord/rowa", "POST", "/v1/scans", "application/json", ok, []string{"Idempotency-Key", `""`}, 400, "idempotency_key"},
		{"all items wrong", "nord/rowa", "POST", "/v1/scans", "application/json", "[{},17]", nil, 400, "none_stored"},
		{"wrong sequence", "nord/rowa", "GET", "/v1/outcomes?after=x", "", "", nil, 400, "parameter"},
		{"wrong time", "nord/rowa", "GET", "/v1/outcomes?since=noon", "", "", nil, 400, "parameter"},
		{"packs unknown here", "nord/rowa", "GET", "/v1/packs/03400930000007/7X4F8L2", "", "", nil, 501, "no_packs"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b.t = t
			for lang, pick := range map[string]func(scan.Text) string{"en": func(x scan.Text) string { return x.EN }, "fr-FR,en;q=0.5": func(x scan.Text) string { return x.FR }} {
				a := b.do(tc.who, tc.method, tc.path, tc.contentType, tc.body, append(tc.header, "Accept-Language", lang)...)
				if a.StatusCode != tc.status || a.v.Code != tc.code || a.Header.Get("Content-Type") != "application/problem+json" {
					t.Fatalf("%s %s, want %d %s: %s", a.Status, a.v.Code, tc.status, tc.code, a.body)
				}
				var p httpdoor.Problem
				if err := json.Unmarshal(a.body, &p); err != nil || p.Detail != pick(p.Message) || p.Message.FR == "" || p.Message.EN == "" || p.Message.FR == p.Message.EN {
					t.Errorf("%s: %v %s", lang, err, a.body)
				}
			}
		})
	}
	b.t = t
	if got := b.scans(); len(got) != 0 {
		t.Errorf("stored %+v", got)
	}
}

func TestAScanThatWillBeRejectedIsStoredAndSaysSo(t *testing.T) {
	b := newBench(t, nil, nil)
	a := b.post("nord/rowa", "text/plain", "]D2"+packText[3:])
	if a.StatusCode != 202 || a.v.Warning == nil || a.v.Warning.Reason != "case" || a.v.Warning.Message.FR == "" {
		t.Errorf("%s: %s", a.Status, a.body)
	}
	if got := b.scans(); len(got) != 1 {
		t.Errorf("stored %+v", got)
	}
}

func TestASitesTokenSpeaksForTheDeviceItNames(t *testing.T) {
	b := newBench(t, nil, nil)
	if a := b.do("nord/*", "POST", "/v1/scans?device=cart-7", "text/plain", packText); a.StatusCode != 202 || a.v.Device != "cart-7" {
		t.Errorf("%s: %s", a.Status, a.body)
	}
	if got := b.scans(); len(got) != 1 || got[0].Source() != "nord/cart-7" {
		t.Errorf("stored %+v", got)
	}
}

// TestAScanGoesOnInTheTraceOfItsRequest: what is malformed counts for none, and never costs a scan.
func TestAScanGoesOnInTheTraceOfItsRequest(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, tc := range []struct{ name, parent, state, want string }{
		{"none", "", "", ""},
		{"traced", parent, "", parent},
		{"with a state", parent, "rojo=1,congo=2", parent + " rojo=1,congo=2"},
		{"a state alone", "", "rojo=1", ""},
		{"a state that is too long", parent, "a=" + strings.Repeat("x", 600), parent},
		{"malformed", "00-x", "rojo=1", ""},
		{"with more behind it", parent + " x", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, nil, nil)
			var header []string
			if tc.parent != "" {
				header = append(header, "Traceparent", tc.parent)
			}
			if tc.state != "" {
				header = append(header, "tracestate", tc.state)
			}
			if a := b.post("nord/rowa", "application/json", `[{"id":"e1","scan":`+quoted(packText)+`},{"id":"e2","scan":`+quoted(packText)+`}]`, header...); a.StatusCode != 202 {
				t.Fatalf("%s: %s", a.Status, a.body)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			for n := 0; n < 2; {
				ds, err := b.broker.Conn().Scans("a").Fetch(ctx, 2, time.Millisecond, 0)
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range ds {
					if n++; d.Trace() != tc.want {
						t.Errorf("stored with %q, want %q", d.Trace(), tc.want)
					}
				}
			}
		})
	}
}
