package main

import (
	"encoding/csv"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

func TestVerifyFindsTheRecordThatBreaksTheChain(t *testing.T) {
	bad := map[string]struct {
		record func(o *office) []byte
		says   string
	}{
		"another hash": {func(o *office) []byte {
			return o.encode(&ledger.Record{}, ledger.Head{Seq: o.head.Seq, Hash: strings.Repeat("0", 64)})
		}, "it follows record 2"},
		"a gap":     {func(o *office) []byte { return o.encode(&ledger.Record{}, ledger.Head{}) }, "it follows record 0"},
		"no record": {func(*office) []byte { return []byte("junk") }, "not a ledger record"},
		"an attempt for a pack put aside": {func(o *office) []byte {
			return o.encode(opened(o.t, "C9", scan.Supply, "S1"), o.head)
		}, "which is parked"},
	}
	for name, c := range bad {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			o.one("S1", answerNobody)
			if r := o.run(exitFine, "ledger", "verify"); !strings.Contains(r.stdout, "ledger sound, 2 records") || !strings.Contains(r.stdout, "1 parked") {
				t.Errorf("sound: %+v", r)
			}
			if _, err := o.conn.Ledger("chu").Append(t.Context(), o.head, c.record(o)); err != nil {
				t.Fatal(err)
			}
			r := o.run(exitThreshold, "ledger", "verify", "--json")
			var rep ledgerReport
			if err := json.Unmarshal([]byte(r.stdout), &rep); err != nil || rep.OK || rep.BadSeq != 3 || rep.Records != 2 || !strings.Contains(rep.Error, c.says) {
				t.Errorf("%v\n%s%s", err, r.stdout, r.stderr)
			}
			// Nobody may make it worse.
			for _, args := range [][]string{{"ledger", "rebuild", "--account", "chu"}, {"review", "resolve", string(officePack(t, "S1").ID()), "--as", "active"}} {
				o.run(exitFailure, append(args, "--who", "a", "--why", "b")...)
			}
			if h, ok, err := o.store.Head(t.Context(), "chu"); !ok || h != o.head || err != nil {
				t.Errorf("Redis was touched: %v %v %v", h, ok, err)
			}
		})
	}
}

func TestVerifyAsksTheSecondWitness(t *testing.T) {
	o := newOffice(t)
	o.one("S1", answerDone)
	o.lose(opened(t, "CL", scan.Supply, "S2"))
	if r := o.run(exitThreshold, "ledger", "verify"); !strings.Contains(r.stdout, "NOT sound") || !strings.Contains(r.stderr, "lost records") {
		t.Errorf("%+v", r)
	}
}

func TestVerifyAndReviewWorkOnEmbeddedStores(t *testing.T) {
	dir := t.TempDir()
	args := []string{"--config", write(t, dir, "decom.yaml", minimal), "--lang", "en"}
	data := filepath.Join(dir, "decom-data")
	conn, err := queue.Connect(t.Context(), queue.Config{Dir: filepath.Join(data, "nats")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Setup(t.Context(), []queue.Account{{Name: "chu", Sites: []string{"nord", "sud"}}}, false); err != nil {
		t.Fatal(err)
	}
	o := &office{t: t, conn: conn}
	first := opened(t, "C1", scan.Supply, "S1")
	h1, err := conn.Ledger("chu").Append(t.Context(), ledger.Head{}, o.encode(first, ledger.Head{}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Ledger("chu").Append(t.Context(), h1, o.encode(answered(t, "C1", h1, answerTwice, "S1"), h1)); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	run := func(code int, line ...string) result {
		t.Helper()
		r := inProcess(t, nil, "", append(line, args...)...)
		if r.code != code {
			t.Fatalf("%v: %+v", line, r)
		}
		return r
	}
	if r := run(exitFine, "ledger", "verify"); !strings.Contains(r.stdout, "Redis none") {
		t.Errorf("%+v", r)
	}
	if r := run(exitFine, "review", "ls"); !strings.Contains(r.stdout, "doubtful_twice") {
		t.Errorf("%+v", r)
	}
	who := []string{"--who", "a", "--why", "b"}
	run(exitFailure, append([]string{"ledger", "rebuild", "--account", "chu"}, who...)...)

	// The head file of a worker that knew more.
	store, err := packstate.Open(t.Context(), packstate.Config{Dir: filepath.Join(data, "redis")})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.SaveHead("chu", ledger.Head{Seq: 9, Hash: strings.Repeat("0", 64)}); err != nil || store.Close() != nil {
		t.Fatal(err)
	}
	run(exitThreshold, "ledger", "verify")
	retry := append([]string{"review", "retry", string(officePack(t, "S1").ID())}, who...)
	run(exitFailure, retry...)
	if r := run(exitFailure, append([]string{"resume", "chu"}, who...)...); !strings.Contains(r.stderr, "--after-loss") {
		t.Errorf("%+v", r)
	}
	if r := run(exitFine, append([]string{"resume", "chu", "--after-loss", "--notice", "10ms"}, who...)...); !strings.Contains(r.stdout, "Redis remembers nothing") {
		t.Errorf("%+v", r)
	}
	run(exitFine, "ledger", "verify")
	run(exitFine, retry...)
}

func TestExportWritesALineForEachEventOfAPack(t *testing.T) {
	o := newOffice(t)
	of := o.append(opened(t, "CB", scan.Supply, "S1", "=2+3"))
	o.append(&ledger.Record{Fact: []ledger.Fact{{C: "CB", Of: of.Seq, Kind: ledger.Submitted, Tx: "T1"}}})
	o.append(answered(t, "CB", of, answerNobody, "S1", "=2+3"))
	o.run(exitFine, "review", "resolve", string(officePack(t, "S1").ID()), "--as", "active", "--who", "=cmd()", "--why", "seen; \"active\"")
	var got []string
	r := o.run(exitFine, "ledger", "export")
	for l := range strings.Lines(r.stdout) {
		var e exportLine
		if err := json.Unmarshal([]byte(l), &e); err != nil {
			t.Fatal(err)
		}
		if e.Product != "03400930000007" || e.Batch != "LOT42" || e.Serial != "" {
			t.Errorf("%s", l)
		}
		result := ""
		if e.Answer != nil {
			result = string(e.Result)
		}
		got = append(got, strings.Join([]string{e.What, e.Op, e.Event, result, e.To, e.Who}, " "))
	}
	want := []string{"open supply ev-S1   ", "open supply ev-=2+3   ", "submitted supply ev-S1   ", "submitted supply ev-=2+3   ",
		"result supply ev-S1 unresolved  ", "result supply ev-=2+3 unresolved  ", "review    free =cmd()"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	r = o.run(exitFine, "ledger", "export", "--format", "csv", "--serials")
	rows, err := csv.NewReader(strings.NewReader(r.stdout)).ReadAll()
	if err != nil || len(rows) != 8 || len(rows[0]) != len(exportColumns) {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	column := func(row int, name string) string {
		for i, c := range exportColumns {
			if c == name {
				return rows[row][i]
			}
		}
		t.Fatalf("no column %s", name)
		return ""
	}
	if column(1, "serial") != "S1" || column(2, "serial") != "'=2+3" || column(7, "who") != "'=cmd()" || column(7, "why") != `seen; "active"` || column(5, "reason") != "no_evidence" {
		t.Errorf("%q", rows)
	}
	if r := o.run(exitFine, "ledger", "export", "--format", "csv", "--since", "2999-01-01"); strings.TrimSpace(r.stdout) != strings.Join(exportColumns, ",") {
		t.Errorf("nothing since then: %q", r.stdout)
	}
	if r := o.run(exitFine, "ledger", "export", "--since", "2001-01-01T00:00:00Z"); strings.Count(r.stdout, "\n") != 7 {
		t.Errorf("%s", r.stdout)
	}
	for _, bad := range [][]string{{"--format", "pdf"}, {"--since", "yesterday"}, {"--account", "nobody"}} {
		o.run(exitUsage, append([]string{"ledger", "export"}, bad...)...)
	}
}

func TestRebuildEmptiesTheProjectionAndSignsIt(t *testing.T) {
	o := newOffice(t)
	o.one("S1", answerDone)
	o.run(exitUsage, "ledger", "rebuild", "--who", "a", "--why", "b")
	o.run(exitUsage, "ledger", "rebuild", "--account", "chu", "--who", "a")
	if len(o.records()) != 2 {
		t.Error("an unsigned rebuild is on the ledger")
	}
	o.run(exitFine, "ledger", "rebuild", "--account", "chu", "--who", "Anna", "--why", "new Redis")
	rs := o.records()
	if f := rs[len(rs)-1].Fact; len(rs) != 3 || f[0].Who != "Anna" || f[0].Why != "new Redis" || len(f[0].Packs) != 0 {
		t.Errorf("%d records, %+v", len(rs), f)
	}
	if _, ok, err := o.store.Head(t.Context(), "chu"); ok || err != nil {
		t.Errorf("Redis still has a head: %v", err)
	}
	o.run(exitFine, "ledger", "verify") // the rebuild's own record is sound

	two := write(t, t.TempDir(), "two.yaml", o.text+"  - name: other\n    sites: [est]\n")
	o.args = []string{"--config", two, "--lang", "en"}
	if r := o.run(exitFine, "ledger", "rebuild", "--account", "chu", "--who", "Anna", "--why", "again"); !strings.Contains(r.stdout, "1 pack(s) noted as held by chu") {
		t.Errorf("%+v", r)
	}
	k := officePack(t, "S1").ID()
	if holders, err := o.store.Own(t.Context(), "other", []scan.PackID{k}); err != nil || holders[k] != "chu" {
		t.Errorf("%v %v", holders, err)
	}
}

// TestRebuildNotesWhoHoldsAPack: what the other account does not hold any more is taken
// over; what it holds, or may hold because its projection is empty, is not.
func TestRebuildNotesWhoHoldsAPack(t *testing.T) {
	ctx := t.Context()
	m := packstatetest.NewMemory()
	ids := func(names ...string) (ks []scan.PackID) {
		for _, n := range names {
			ks = append(ks, officePack(t, n).ID())
		}
		return ks
	}
	ks := ids("FREE", "THEIRS", "GONE", "NEW")
	for acc, theirs := range map[string][]scan.PackID{"other": ks[:2], "empty": ks[2:3]} {
		if _, err := m.Own(ctx, acc, theirs); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.Begin(ctx, "other"); err != nil {
		t.Fatal(err)
	}
	states := ledger.States{ks[0]: {Phase: ledger.Free, Changed: 1}, ks[1]: {Phase: ledger.Inactive, Op: scan.Supply, Changed: 1}}
	if st, err := m.Apply(ctx, "other", ledger.Head{}, ledger.Head{Seq: 1, Hash: strings.Repeat("a", 64)}, states, ledger.NewIndex()); st != packstate.OK || err != nil {
		t.Fatal(st, err)
	}
	n, others, err := own(ctx, m, "chu", ks)
	if n != 2 || others != 2 || err != nil {
		t.Errorf("%d noted, %d with others: %v", n, others, err)
	}
	holders, err := m.Own(ctx, "third", ks)
	if err != nil || holders[ks[0]] != "chu" || holders[ks[1]] != "other" || holders[ks[2]] != "empty" || holders[ks[3]] != "chu" {
		t.Errorf("%v %v", holders, err)
	}
}
