package sim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"decom/nmvs"
)

// overWire serves the rig on a real port without TLS, so that torn connections
// look as they do.
func (r *rig) overWire(t *testing.T) string {
	t.Helper()
	urls, stop, err := r.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stop() })
	return urls[nmvs.Single]
}

// send posts once and says how it ended.
func send(ctx context.Context, url, body string) (status int, reply string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "text/xml")
	req.GetBody = nil
	c := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func TestFaultsComeInPairs(t *testing.T) {
	reset := func(_ int, _ string, err error) bool {
		return err != nil && (strings.Contains(err.Error(), "reset") || errors.Is(err, io.EOF))
	}
	cut := func(_ int, s string, err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) && len(s) > 0 }
	status := func(want int, part string) func(int, string, error) bool {
		return func(got int, s string, err error) bool { return err == nil && got == want && strings.Contains(s, part) }
	}
	good := func(s string) bool { return strings.Contains(s, `NMVS_SUCCESS`) }
	tests := []struct {
		fault Fault
		name  string
		looks func(int, string, error) bool
	}{
		{Fault{Kind: Hang, For: Duration(20 * time.Millisecond)}, "hang", reset},
		{Fault{Kind: Reset}, "reset", reset},
		{Fault{Kind: Cut}, "cut", cut},
		{Fault{Kind: Cut, At: 10}, "cut", func(_ int, s string, err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) && len(s) == 10 }},
		{Fault{Kind: Cut, At: -1}, "cut", func(_ int, s string, err error) bool {
			return errors.Is(err, io.ErrUnexpectedEOF) && good(s) && strings.HasSuffix(s, "</soap:Envelope")
		}},
		{Fault{Kind: HTTP}, "http 500", status(500, "Internal Server Error")},
		{Fault{Kind: HTTP, Status: 502}, "http 502", status(502, "")},
		{Fault{Kind: HTTP, Status: 503, RetryAfter: Duration(time.Second)}, "http 503", status(503, "")},
		{Fault{Kind: HTTP, Status: 504}, "http 504", status(504, "")},
		{Fault{Kind: HTTP, Status: 429}, "http 429", status(429, "")},
		{Fault{Kind: HTTP, Status: 307}, "http 307", status(307, "")},
		{Fault{Kind: HTTP, Status: 500, Code: "NMVS_ERROR"}, "http 500", status(500, `"NMVS_ERROR"`)},
		{Fault{Kind: Code}, "code ERROR", status(200, `"NMVS_ERROR"`)},
		{Fault{Kind: Code, Code: "NMVS_TI_TO_01"}, "code TI_TO_01", status(200, `"NMVS_TI_TO_01"`)},
		{Fault{Kind: Code, Code: "NMVS_TI_RT_02"}, "code TI_RT_02", status(200, `"NMVS_TI_RT_02"`)},
		{Fault{Kind: Code, Code: "NMVS_TI_XM_01"}, "code TI_XM_01", status(200, `"NMVS_TI_XM_01"`)},
		{Fault{Kind: Code, Code: "NMVS_QQ_99"}, "code QQ_99", status(200, `"NMVS_QQ_99"`)},
		{Fault{Kind: SOAPFault}, "soap_fault", status(500, "soap:Receiver")},
		{Fault{Kind: Garbled}, "garbled", func(_ int, s string, err error) bool {
			_, bad := readTheirs([]byte(s))
			return err == nil && bad != nil
		}},
		{Fault{Kind: WrongEcho}, "wrong_echo", func(n int, s string, err error) bool {
			return err == nil && n == 200 && good(s) && !strings.Contains(s, ">C-1<") && strings.Contains(s, ">C-0<")
		}},
		{Fault{Kind: WrongPack}, "wrong_pack", func(n int, s string, err error) bool {
			return err == nil && n == 200 && good(s) && strings.Contains(s, `"A0"`) && !strings.Contains(s, `"A1"`)
		}},
	}
	for _, tt := range tests {
		for _, when := range []string{Before, After, Late} {
			t.Run(when+"/"+tt.name+"/"+strconv.Itoa(tt.fault.At), func(t *testing.T) {
				r := newRig(t, 5, Settings{})
				url := r.overWire(t)
				f := tt.fault
				f.When = when
				if when == Late {
					f.Delay = Duration(time.Minute)
				}
				if err := r.Inject(Rule{Ops: []string{"G120"}, Serial: "A1", Fault: f}); err != nil {
					t.Fatal(err)
				}
				n, s, err := send(t.Context(), url, r.xml(ask{op: "G120", c: "C-1"}))
				if !tt.looks(n, s, err) {
					t.Errorf("looks like HTTP %d, %v\n%s", n, err, s)
				}
				r.checkMoment(t, when, tt.name)
			})
		}
	}
}

// checkMoment checks effect and ledger of a fault at the call C-1.
func (r *rig) checkMoment(t *testing.T, when, name string) {
	t.Helper()
	effect := func() int { p, _ := r.Pack(Key{"GTIN", gtin1, "A1"}); return p.Decommissions }
	want := 0
	if when == After {
		want = 1
	}
	if effect() != want {
		t.Errorf("%d effects at once, want %d", effect(), want)
	}
	r.Advance(time.Minute)
	if when == Late {
		want = 1
	}
	if effect() != want {
		t.Errorf("%d effects after a minute, want %d", effect(), want)
	}
	if n := r.Counts().Faults[when+" "+name]; n != 1 {
		t.Errorf("faults %v", r.Counts().Faults)
	}
	l := r.Ledger()
	if l[0].Fault != when+" "+name || l[0].C != "C-1" || l[0].Effect != (when == After) || l[0].Key.Serial != "A1" {
		t.Errorf("ledger %+v", l[0])
	}
	if when == Late && (len(l) != 2 || !l[1].Late || !l[1].Effect || l[1].Answered) {
		t.Errorf("ledger of the late copy %+v", l)
	}
	// The script is used up, and the id is known exactly where the call arrived.
	second := "NC_PCK_22"
	if want == 0 {
		second = "SUCCESS"
	}
	r.do(ask{op: "G120", c: "C-2"}).want(t, second)
	reuse := r.do(ask{op: "G110", c: "C-1"})
	if (reuse.Code == codeTrxUsed) != (want == 1) {
		t.Errorf("reuse of the id: %s", reuse.Code)
	}
}

func TestALateCopyMeetsWhatHappenedMeanwhile(t *testing.T) {
	r := newRig(t, 5, Settings{})
	late := Rule{Ops: []string{"G120"}, Fault: Fault{Kind: HTTP, When: Late, Delay: Duration(time.Hour)}}
	if err := r.Inject(late); err != nil {
		t.Fatal(err)
	}
	r.do(ask{op: "G120", c: "L-1"})
	r.do(ask{op: "G120", c: "L-2"}).want(t, "SUCCESS") // a client that did not wait
	r.Advance(time.Hour)
	if c := r.Counts(); c.SentTwice != 1 || c.LateCopies != 1 || c.SelfAlerts != 1 {
		t.Errorf("%+v", c)
	}
	r2 := newRig(t, 5, Settings{})
	if err := r2.Inject(late); err != nil {
		t.Fatal(err)
	}
	r2.do(ask{op: "G120", c: "L-1"})
	r2.do(ask{op: "G120", c: "L-1"}).want(t, "SUCCESS") // same id: the copy is refused
	r2.Advance(time.Hour)
	if v := r2.Verdict(); !v.Clean || v.Counts.Codes[codeTrxUsed] != 1 {
		t.Errorf("%+v", v)
	}
}

func TestRulesMatchSkipAndCount(t *testing.T) {
	r := newRig(t, 5, Settings{Faults: []Rule{{Ops: []string{"G110"}, Skip: 1, Count: 2, Fault: Fault{Kind: Code, When: Before}}}})
	want := []string{"SUCCESS", "ERROR", "ERROR", "SUCCESS"}
	for _, code := range want {
		r.do(ask{op: "G110"}).want(t, code)
	}
	err := r.Inject(
		Rule{User: "DEMO-USER-02", Fault: Fault{Kind: Code, Code: "NMVS_U2"}},
		Rule{Product: gtin2, Fault: Fault{Kind: Code, Code: "NMVS_P2"}},
		Rule{Service: "bulk", Serial: "S3", Fault: Fault{Kind: Code, Code: "NMVS_B3"}},
		Rule{Service: "mixed", Serial: "A2", Fault: Fault{Kind: Code, Code: "NMVS_M2"}},
	)
	if err != nil {
		t.Fatal(err)
	}
	r.do(ask{op: "G110"}).want(t, "SUCCESS")
	r.do(bulkAsk("G115", "S1", "S3")).want(t, "P2")
	r.do(bulkAsk("G115", "S1", "S2")).want(t, "SUCCESS")
	r.do(bulkAsk("G115", "S1", "S3")).want(t, "B3")
	r.do(ask{op: "G195", body: mixed(mixedItem{"Item", "G110", gtin1, "A2", "I1", ""})}).want(t, "M2")
	r.do(ask{op: "G110", user: "DEMO-USER-02"}).want(t, "U2")
	if n := r.ClearFaults(); n != 0 {
		t.Errorf("%d rules left", n)
	}
	for _, bad := range []Rule{{}, {Fault: Fault{Kind: "x"}}, {Fault: Fault{Kind: Hang, When: Late}}, {P: 2, Fault: Fault{Kind: Hang}}, {Service: "x", Fault: Fault{Kind: Hang}},
		{Fault: Fault{Kind: HTTP, Status: 99}}, {Fault: Fault{Kind: Crash, When: Before}}, {Fault: Fault{Kind: Crash, Then: "x"}}, {Skip: -1, Fault: Fault{Kind: Hang}}} {
		if r.Inject(bad) == nil {
			t.Errorf("accepted %+v", bad)
		}
	}
}

func TestALedgerRowIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(row{}); n > 128 {
		t.Errorf("a row takes %d bytes", n)
	}
}

func TestTheSameSeedGivesTheSameRun(t *testing.T) {
	run := func(seed uint64) (codes string) {
		s, err := New(Config{Seed: seed, Clock: func() time.Time { return start }, Accounts: accounts(), Settings: Settings{
			AutoStock: AutoStock{On: true, UnknownP: 0.2},
			Faults:    []Rule{{P: 0.3, Fault: Fault{Kind: Code, When: Before}}, {P: 0.3, Fault: Fault{Kind: Code, When: After, Code: "NMVS_TI_TO_01"}}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		r := &rig{Sim: s, t: t, h: s.Handler()}
		for range 50 {
			r.do(ask{op: "G120", sn: "S" + strconv.Itoa(r.n)})
		}
		for _, e := range s.Ledger() {
			codes += e.Code + e.Fault + e.Tx + e.AlertID + " "
		}
		return codes
	}
	first, second := run(1), run(1)
	if first != second {
		t.Error("two runs with one seed differ")
	}
	if first == run(2) {
		t.Error("the seed changes nothing")
	}
}

func TestQuirksKeepTheReplyReadable(t *testing.T) {
	r := newRig(t, 5, Settings{Quirks: Quirks{UnknownElements: true, UnknownReason: "HEXED", Reasons: 20, NoDesc: true, NoPack: true}})
	for _, style := range []int{0, 1, 2, -1, -1, -1} {
		if err := r.Update(func(s *Settings) { s.Quirks.Prefixes = style }); err != nil {
			t.Fatal(err)
		}
		a := r.do(ask{op: "G110", sn: "GONE"}).want(t, "SUCCESS")
		if len(a.Reason) != 20 || a.Reason[0] != "SUPPLIED" || a.Reason[1] != "HEXED" || strings.Contains(a.text, "desc") || !strings.Contains(a.text, "FutureThing") {
			t.Errorf("style %d: %v\n%s", style, a.Reason, a.text)
		}
		if _, err := readTheirs([]byte(a.text)); err != nil {
			t.Errorf("style %d: %v\n%s", style, err, a.text)
		}
		if !bytes.Contains([]byte(canonical(t, a.text)), []byte("<urn:types.nmvs.eu:v5.0|Pack urn:types.nmvs.eu:v5.0|")) {
			t.Errorf("style %d: attributes or elements left their namespace\n%s", style, a.text)
		}
		if a = r.do(ask{op: "G120", sn: "nope"}).want(t, "NC_PC_02"); strings.Contains(a.text, "Pack") {
			t.Errorf("NoPack: %s", a.text)
		}
	}
}

func canonical(t *testing.T, doc string) string {
	t.Helper()
	s, err := readTheirs([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLatencyIsSpentOnBothSidesOfTheEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{Accounts: accounts(), Settings: Settings{AutoStock: AutoStock{On: true}, Latency: Latency{Fixed: Duration(200 * time.Millisecond)}}})
		if err != nil {
			t.Fatal(err)
		}
		r := &rig{Sim: s, t: t, h: s.Handler()}
		begun := time.Now()
		done := make(chan answer)
		go func() { done <- r.do(ask{op: "G120"}) }()
		time.Sleep(99 * time.Millisecond)
		if n := len(s.Ledger()); n != 0 {
			t.Errorf("%d ledger entries after 99 ms", n)
		}
		time.Sleep(2 * time.Millisecond)
		if l := s.Ledger(); len(l) != 1 || !l[0].Effect || l[0].Answered {
			t.Errorf("after 101 ms: %+v", l)
		}
		(<-done).want(t, "SUCCESS")
		if d := time.Since(begun); d != 200*time.Millisecond {
			t.Errorf("took %v", d)
		}
	})
}

func TestTheServerWorksOnWhenTheClientLeaves(t *testing.T) {
	r := newRig(t, 5, Settings{Latency: Latency{Fixed: Duration(time.Second)}})
	url := r.overWire(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	body := r.xml(ask{op: "G120"})
	left := make(chan error)
	go func() { _, _, err := send(ctx, url, body); left <- err }()
	for r.Counts().Calls["G120"] == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Fatalf("client: %v", err)
	}
	for range 1000 {
		if p, _ := r.Pack(Key{"GTIN", gtin1, "A1"}); p.Decommissions == 1 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("the call was not carried out")
}
