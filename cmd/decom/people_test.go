package main

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"decom/queue"
	"decom/queue/queuetest"
	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

// office is a ledger and a projection on real servers, filled by hand as workers would.
type office struct {
	t     *testing.T
	conn  *queue.Conn
	store *packstate.Store
	text  string   // the configuration
	args  []string // its file, for every command line
	head  ledger.Head
}

func newOffice(t *testing.T) *office {
	t.Helper()
	nats, redis := queuetest.Server(t), packstatetest.Redis(t)
	o := &office{t: t, text: "nats: {url: " + nats + "}\nredis: {url: " + redis + "}\nhttp: {listen: \"\"}\n" + minimal}
	o.args = []string{"--config", write(t, t.TempDir(), "decom.yaml", o.text), "--lang", "en"}
	var err error
	if o.conn, err = queue.Connect(t.Context(), queue.Config{URL: nats}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.conn.Close)
	if _, err := o.conn.Setup(t.Context(), []queue.Account{{Name: "chu", Sites: []string{"nord", "sud"}}}, false); err != nil {
		t.Fatal(err)
	}
	if o.store, err = packstate.Open(t.Context(), packstate.Config{URL: redis}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.store.Close() })
	if st, err := o.store.Begin(t.Context(), "chu"); st != packstate.OK || err != nil {
		t.Fatal(st, err)
	}
	return o
}

// run runs one command line, an error of which fails the test unless code says so.
func (o *office) run(code int, args ...string) result {
	o.t.Helper()
	r := inProcess(o.t, nil, "", append(args, o.args...)...)
	if r.code != code {
		o.t.Fatalf("decom %s: code %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.stdout, r.stderr)
	}
	return r
}

// append puts a record on the ledger and projects it, as a worker does.
func (o *office) append(r *ledger.Record) ledger.Head {
	o.t.Helper()
	last, _, err := o.conn.Ledger("chu").Last(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	payload := o.encode(r, last.Head())
	head, err := o.conn.Ledger("chu").Append(o.t.Context(), last.Head(), payload)
	if err != nil {
		o.t.Fatal(err)
	}
	o.project(r, head)
	return head
}

func (o *office) encode(r *ledger.Record, prev ledger.Head) []byte {
	o.t.Helper()
	r.Account, r.By, r.At = "chu", "w#1", "2026-11-22T10:15:31.201Z"
	b, err := ledger.Encode(r, prev)
	if err != nil {
		o.t.Fatal(err)
	}
	return b
}

// project folds a record into Redis.
func (o *office) project(r *ledger.Record, next ledger.Head) {
	o.t.Helper()
	states, err := o.store.Peek(o.t.Context(), "chu", r.Touched())
	if err != nil {
		o.t.Fatal(err)
	}
	idx, err := ledger.Fold(next.Seq, r, states)
	if err != nil {
		o.t.Fatal(err)
	}
	if st, err := o.store.Apply(o.t.Context(), "chu", o.head, next, states, idx); st != packstate.OK || err != nil {
		o.t.Fatal(st, err)
	}
	o.head = next
}

// lose has Redis know a record that the ledger does not hold.
func (o *office) lose(r *ledger.Record) {
	o.t.Helper()
	payload := o.encode(r, o.head)
	o.project(r, ledger.Head{Seq: o.head.Seq + 1, Hash: ledger.Hash(payload)})
}

func officePack(t *testing.T, serial string) scan.Pack {
	t.Helper()
	p, err := scan.NewPack(scan.GTIN, "03400930000007", serial, "LOT42", "281100")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// opened is the record that opens an attempt for packs, c its id.
func opened(t *testing.T, c string, op scan.Op, serials ...string) *ledger.Record {
	t.Helper()
	o := ledger.Open{C: c, Svc: ledger.Single, Op: op, Product: &ledger.Product{Scheme: scan.GTIN, Code: "03400930000007", Batch: "LOT42", Expiry: "281100"}}
	for _, s := range serials {
		officePack(t, s)
		o.Packs = append(o.Packs, ledger.OpenPack{Serial: s, Origin: ledger.Origin{Ev: "ev-" + s, Src: "nord/rowa-1", Op: op, Key: 1763806530000}})
	}
	return &ledger.Record{Open: []ledger.Open{o}}
}

// answered is the record with one answer for every pack of an attempt.
func answered(t *testing.T, c string, of ledger.Head, a ledger.Answer, serials ...string) *ledger.Record {
	t.Helper()
	f := ledger.Fact{C: c, Of: of.Seq, Kind: ledger.Result}
	for i, s := range serials {
		f.Packs = append(f.Packs, ledger.FactPack{I: i, K: officePack(t, s).ID(), Answer: &a})
	}
	return &ledger.Record{Fact: []ledger.Fact{f}}
}

// one takes a pack through an attempt with that answer.
func (o *office) one(serial string, a ledger.Answer) {
	o.t.Helper()
	of := o.append(opened(o.t, "C-"+serial, scan.Supply, serial))
	o.append(answered(o.t, "C-"+serial, of, a, serial))
}

var (
	answerDone    = ledger.Answer{Result: scan.Done, Code: "NMVS_SUCCESS", State: "INACTIVE", Reasons: []string{"SUPPLIED"}, NMVSAt: "2026-11-22T10:15:31Z", Called: true}
	answerForeign = ledger.Answer{Result: scan.Alert, Reason: scan.AlreadyInactive, Code: "NMVS_NC_PCK_22", State: "INACTIVE", AlertID: "FR-1", Called: true}
	answerTwice   = ledger.Answer{Result: scan.Unresolved, Reason: scan.DoubtfulTwice, State: "ACTIVE", Called: true}
	answerNobody  = ledger.Answer{Result: scan.Unresolved, Reason: scan.NoEvidence, State: "INACTIVE", Called: true}
)

func (o *office) records() (rs []*ledger.Record) {
	o.t.Helper()
	_, err := o.conn.Ledger("chu").Read(o.t.Context(), 1, func(e queue.Entry) error {
		r, err := ledger.Decode(e.Payload, "chu")
		rs = append(rs, r)
		return err
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return rs
}

func TestResumeEndsAHaltWithNameAndReason(t *testing.T) {
	o := newOffice(t)
	o.one("S1", answerDone)
	who := []string{"--who", "Mme Durand", "--why", "alerts looked at"}
	o.run(exitUsage, append([]string{"resume", "nobody"}, who...)...)
	if r := o.run(exitFailure, append([]string{"resume", "chu"}, who...)...); !strings.Contains(r.stderr, "not halted") {
		t.Errorf("%+v", r)
	}
	if err := o.store.Halt(t.Context(), "chu", "2 too many alerts"); err != nil {
		t.Fatal(err)
	}
	if r := o.run(exitUsage, "resume", "chu", "--who", "x"); !strings.Contains(r.stdout, "too many alerts") || !strings.Contains(r.stderr, "--why") {
		t.Errorf("unsigned: %+v", r)
	}
	if n := len(o.records()); n != 2 {
		t.Fatalf("%d records before the resume", n)
	}
	o.run(exitFine, append([]string{"resume", "chu"}, who...)...)
	rs := o.records()
	if f := rs[len(rs)-1].Fact; len(rs) != 3 || len(f) != 1 || f[0].Kind != ledger.Resume || f[0].Who != "Mme Durand" || f[0].Why != "alerts looked at" {
		t.Errorf("%d records, the last with %+v", len(rs), f)
	}
	if why, halted, err := o.store.Halted(t.Context(), "chu"); halted || err != nil {
		t.Errorf("still halted: %s %v", why, err)
	}
}

func TestResumeAfterLossPutsAsideWhatOnlyRedisKnows(t *testing.T) {
	o := newOffice(t)
	o.one("S1", answerDone)
	o.one("S0", answerTwice)
	before := o.head
	for range 3 {
		if _, err := o.conn.PublishScan(t.Context(), "nord", "d", fmt.Sprint("e", time.Now().UnixNano()), []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	ds, err := o.conn.Scans("chu").Fetch(t.Context(), 3, time.Second, 0)
	if err != nil || queue.AckAll(t.Context(), ds) != nil || len(ds) != 3 {
		t.Fatal(len(ds), err)
	}
	o.lose(opened(t, "CL", scan.Supply, "S2"))
	who := []string{"--who", "Anna", "--why", "disk replaced"}
	if r := o.run(exitFailure, append([]string{"resume", "chu", "--after-loss", "--notice", "10ms"}, who...)...); !strings.Contains(r.stderr, "not halted") {
		t.Errorf("%+v", r)
	}
	if err := o.store.Halt(t.Context(), "chu", "2 test"); err != nil {
		t.Fatal(err)
	}
	if r := o.run(exitFailure, append([]string{"resume", "chu"}, who...)...); !strings.Contains(r.stderr, "--after-loss") || len(o.records()) != 4 {
		t.Errorf("%+v", r)
	}
	// Every other tool that writes refuses too.
	for _, args := range [][]string{
		{"review", "resolve", "03400930000007", "S0", "--as", "active"}, {"review", "retry", "03400930000007", "S0"}, {"ledger", "rebuild", "--account", "chu"},
	} {
		if r := o.run(exitFailure, append(args, who...)...); !strings.Contains(r.stderr, "resume chu --after-loss") || len(o.records()) != 4 {
			t.Errorf("%v: %+v", args, r)
		}
	}
	if h, ok, err := o.store.Head(t.Context(), "chu"); !ok || h == before || err != nil {
		t.Fatalf("Redis was emptied: %v %v", h, err)
	}
	if r := o.run(exitFine, append([]string{"resume", "chu", "--after-loss", "--notice", "10ms"}, who...)...); !strings.Contains(r.stdout, "1 pack(s) put aside") {
		t.Errorf("%+v", r)
	}
	rs := o.records()
	if f := rs[4].Fact[0]; len(rs) != 6 || f.Kind != ledger.Park || len(f.Packs) != 1 || f.Packs[0].K != officePack(t, "S2").ID() || rs[5].Fact[0].Kind != ledger.Resume {
		t.Errorf("%d records, %+v", len(rs), f)
	}
	if _, ok, err := o.store.Head(t.Context(), "chu"); ok || err != nil {
		t.Errorf("Redis still has a head: %v", err)
	}
	if ds, err := o.conn.Scans("chu").Fetch(t.Context(), 9, time.Second, 0); err != nil || len(ds) != 3 {
		t.Errorf("%d scans are delivered again, want 3: %v", len(ds), err)
	}
}

func TestWhoAndWhyAreAskedInTheReadersLanguage(t *testing.T) {
	var errs bytes.Buffer
	a := &app{stderr: &errs, lang: french}
	p := personFlags{}
	if err := a.ask(bufio.NewReader(strings.NewReader("Mme Durand\ncontrôlé")), &p); err != nil || p.who != "Mme Durand" || p.why != "contrôlé" {
		t.Errorf("%+v %v", p, err)
	}
	if !slices.Contains(strings.SplitAfter(errs.String(), " : "), "Pourquoi : ") {
		t.Errorf("%q", &errs)
	}
}
