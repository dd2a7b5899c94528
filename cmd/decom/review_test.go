package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"decom/worker/ledger"
	"decom/worker/scan"
)

func TestAPersonMayStateOnlyWhatTheLedgerAllows(t *testing.T) {
	parked := func(op scan.Op, a ledger.Answer) reviewCase {
		return reviewCase{State: ledger.State{Phase: ledger.Parked, Op: op}, Answer: a, NMVSState: a.State}
	}
	lost := ledger.Answer{Result: scan.Unresolved, Reason: scan.LedgerLoss}
	for _, c := range []struct {
		name string
		c    reviewCase
		as   string
		op   scan.Op
		want string // To/Op, or part of the error
	}{
		{"inactive as asked", parked(scan.Supply, answerNobody), "inactive", 0, "inactive/supply"},
		{"inactive otherwise", parked(scan.Supply, answerNobody), "inactive", scan.Destroy, "inactive/destroy"},
		{"an undo that did nothing", parked(scan.UndoExport, answerNobody), "inactive", 0, "inactive/export"},
		{"how is not known", parked(0, lost), "inactive", 0, "--op"},
		{"an undo makes nothing inactive", parked(scan.Supply, answerNobody), "inactive", scan.UndoSupply, "makes no pack inactive"},
		{"nor does a verify", parked(scan.Supply, answerNobody), "inactive", scan.Verify, "makes no pack inactive"},
		{"others made it inactive", parked(scan.Supply, answerForeign), "inactive", 0, "alert FR-1"},
		{"active", parked(scan.Supply, answerNobody), "active", 0, "free/"},
		{"active with an operation", parked(scan.Supply, answerNobody), "active", scan.Supply, "--op goes with"},
		{"quarantined", parked(scan.Supply, answerForeign), "quarantined", 0, "parked/"},
		{"another word", parked(scan.Supply, answerNobody), "sold", 0, "must be"},
		{"not put aside", reviewCase{State: ledger.State{Phase: ledger.Opened}}, "active", 0, "it is open"},
	} {
		p, err := c.c.resolution(c.as, c.op)
		if got := judged1(p, err); err == nil && got != c.want || err != nil && !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	for _, c := range []struct {
		name string
		c    reviewCase
		seen bool
		want string
	}{
		{"seen active", parked(scan.Supply, answerTwice), false, "free/"},
		{"seen inactive", parked(scan.Supply, answerNobody), false, "INACTIVE"},
		{"seen inactive, whatever a person says", parked(scan.Supply, answerNobody), true, "INACTIVE"},
		{"an alert without a state", parked(scan.Supply, ledger.Answer{Result: scan.Alert, Reason: scan.AlreadyInactive}), true, "INACTIVE"},
		{"not known", parked(scan.Supply, lost), false, "--seen-active"},
		{"not known, a person has looked", parked(scan.Supply, lost), true, "free/"},
		{"not put aside", reviewCase{State: ledger.State{Phase: ledger.Due}, NMVSState: "ACTIVE"}, true, "it is due"},
	} {
		p, err := c.c.retry(c.seen)
		if got := judged1(p, err); err == nil && got != c.want || err != nil && !strings.Contains(got, c.want) {
			t.Errorf("retry, %s: %q, want %q", c.name, got, c.want)
		}
	}
}

func judged1(p ledger.FactPack, err error) string {
	if err != nil {
		return err.Error()
	}
	op := ""
	if p.Op != 0 {
		op = p.Op.String()
	}
	return p.To.String() + "/" + op
}

func TestAdviceOffersOnlyWhatIsAllowed(t *testing.T) {
	for _, a := range []ledger.Answer{answerNobody, answerTwice, answerForeign, {Result: scan.Unresolved, Reason: scan.LedgerLoss}, {Result: scan.Unresolved, Reason: scan.NeverExecuted, State: "ACTIVE"}} {
		c := reviewCase{State: ledger.State{Phase: ledger.Parked, Op: scan.Supply}, Answer: a, NMVSState: a.State}
		var text strings.Builder
		for _, l := range c.advice() {
			if l.FR == "" || l.EN == "" {
				t.Errorf("%s: %+v lacks a language", a.Reason, l)
			}
			text.WriteString(l.EN + "\n")
		}
		_, err := c.retry(false)
		_, seen := c.retry(true)
		if strings.Contains(text.String(), "retry: ") != (err == nil) || strings.Contains(text.String(), "retry --seen-active") != (err != nil && seen == nil) {
			t.Errorf("%s: retry %v, seen %v, advice %s", a.Reason, err, seen, text.String())
		}
		_, err = c.resolution(asInactive, 0)
		if strings.Contains(text.String(), "--as inactive") != (err == nil) {
			t.Errorf("%s: inactive %v, advice %s", a.Reason, err, text.String())
		}
	}
}

func (o *office) list(args ...string) (items []reviewItem) {
	o.t.Helper()
	r := o.run(exitFine, append([]string{"review", "ls", "--json"}, args...)...)
	for l := range strings.Lines(r.stdout) {
		var it reviewItem
		if err := json.Unmarshal([]byte(l), &it); err != nil {
			o.t.Fatal(err)
		}
		items = append(items, it)
	}
	return items
}

func names(items []reviewItem) string {
	var all []string
	for _, it := range items {
		all = append(all, fmt.Sprintf("%s %s %s/%s %s", it.What, it.Pack, it.Result, it.Reason, it.AlertID))
	}
	return strings.Join(all, "; ")
}

func TestReviewListsWhatWaitsAndTakesAPersonsWord(t *testing.T) {
	o := newOffice(t)
	o.one("DONE-1", answerDone)
	o.one("FOREIGN-1", answerForeign)
	o.one("TWICE-1", answerTwice)
	o.one("NOBODY-1", answerNobody)
	o.append(&ledger.Record{Note: []ledger.Note{{Origin: ledger.Origin{Ev: "ev-bad", Src: "nord/rowa-1", Op: scan.Supply}, Answer: ledger.Answer{Result: scan.Rejected, Reason: "layout"}}}})
	id := func(s string) string { return string(officePack(t, s).ID()) }
	want := fmt.Sprintf("pack %s alert/already_inactive FR-1; pack %s unresolved/doubtful_twice ; pack %s unresolved/no_evidence ", id("FOREIGN-1"), id("TWICE-1"), id("NOBODY-1"))
	items := o.list()
	if got := names(items); got != want {
		t.Fatalf("listed: %s\nwant:   %s", got, want)
	}
	it := items[0]
	if it.Product != "03400930000007" || it.Serial != "" || it.Since == "" || it.Seq != 4 || it.State != "INACTIVE" || it.Source != "nord/rowa-1" || it.Event != "ev-FOREIGN-1" || it.Message.FR == "" {
		t.Errorf("%+v", it)
	}
	if it := o.list("--serials")[0]; it.Serial != "FOREIGN-1" {
		t.Errorf("serial %q", it.Serial)
	}
	if r := o.run(exitFine, "review", "ls"); strings.Contains(r.stdout, "NOBODY-1\n") || !strings.Contains(r.stdout, "FR-1") || strings.Contains(r.stdout, " TWICE-1") {
		t.Errorf("for people:\n%s", r.stdout)
	}
	if got := names(o.list("--rejected", "24h")); !strings.HasSuffix(got, "; scan  rejected/layout ") {
		t.Errorf("rejected scans: %s", got)
	}

	who := []string{"--who", "Mme Durand", "--why", "box looked at"}
	state := func(code int, args ...string) result {
		t.Helper()
		n := len(o.records())
		r := o.run(code, append(append([]string{"review"}, args...), who...)...)
		if grew := len(o.records()) - n; grew != 1 && code == exitFine || grew != 0 && code != exitFine {
			t.Errorf("%v: %d records", args, grew)
		}
		return r
	}
	if r := o.run(exitUsage, "review", "retry", id("TWICE-1"), "--who", "x"); !strings.Contains(r.stderr, "--why TEXT") {
		t.Errorf("unsigned: %+v", r)
	}
	state(exitFailure, "retry", id("NOBODY-1"))
	state(exitFailure, "retry", id("DONE-1"))
	state(exitFailure, "retry", id("NEVER-SEEN"))
	state(exitFine, "retry", "03400930000007", "TWICE-1")
	state(exitFailure, "retry", id("TWICE-1")) // it is free already, though Redis does not know yet
	state(exitFine, "resolve", id("NOBODY-1"), "--as", "inactive")
	state(exitFine, "resolve", id("FOREIGN-1"), "--as", "quarantined")
	if got := names(o.list()); got != "" {
		t.Errorf("still listed: %s", got)
	}
	if got := names(o.list("--quarantined")); !strings.Contains(got, id("FOREIGN-1")) {
		t.Errorf("quarantined: %s", got)
	}
	state(exitFine, "resolve", id("FOREIGN-1"), "--as", "active") // a person may think again
	rs := o.records()
	f := rs[len(rs)-3].Fact[0]
	if f.Kind != ledger.Review || f.Who != "Mme Durand" || f.Why != "box looked at" || f.Packs[0].To != ledger.Inactive || f.Packs[0].Op != scan.Supply {
		t.Errorf("on the ledger: %+v", f)
	}
	// Workers make of it what was said.
	for _, r := range rs[len(rs)-4:] {
		o.project(r, o.headOf(r))
	}
	states, err := o.store.Peek(t.Context(), "chu", []scan.PackID{officePack(t, "NOBODY-1").ID(), officePack(t, "TWICE-1").ID()})
	if s := states[officePack(t, "NOBODY-1").ID()]; err != nil || s.Phase != ledger.Inactive || s.Op != scan.Supply || s.Base == 0 {
		t.Errorf("%+v %v", s, err)
	}
	if s := states[officePack(t, "TWICE-1").ID()]; s.Phase != ledger.Free {
		t.Errorf("%+v", s)
	}
	r := o.run(exitFine, "review", "show", id("NOBODY-1"))
	for _, part := range []string{"attempt opened supply", "unresolved no_evidence", "a person's decision", "Mme Durand: box looked at", "Nothing to do"} {
		if !strings.Contains(r.stdout, part) {
			t.Errorf("show lacks %q:\n%s", part, r.stdout)
		}
	}
}

// headOf is the name of a record that follows the one projected last.
func (o *office) headOf(r *ledger.Record) ledger.Head {
	b, err := ledger.Encode(r, ledger.Head{Seq: r.PrevSeq, Hash: r.Prev})
	if err != nil {
		o.t.Fatal(err)
	}
	return ledger.Head{Seq: r.PrevSeq + 1, Hash: ledger.Hash(b)}
}

func TestWhatNMVSSaidBeforeAnAttemptCountsNoMore(t *testing.T) {
	o := newOffice(t)
	k := officePack(t, "S1").ID()
	o.append(&ledger.Record{Note: []ledger.Note{{Origin: ledger.Origin{Ev: "v", Src: "nord/d", Op: scan.Verify}, K: k, Answer: ledger.Answer{Result: scan.Done, State: "ACTIVE"}}}})
	o.one("S1", ledger.Answer{Result: scan.Unresolved, Reason: scan.NoAnswer, Called: true})
	if r := o.run(exitFailure, "review", "retry", string(k), "--who", "a", "--why", "b"); !strings.Contains(r.stderr, "--seen-active") {
		t.Errorf("%+v", r)
	}
	o.run(exitFine, "review", "retry", string(k), "--seen-active", "--who", "a", "--why", "b")
}

func TestAnUnknownPackIsSaidToBeUnknown(t *testing.T) {
	o := newOffice(t)
	for _, args := range [][]string{{"show", "AAAAAAAAAAAAAAAA"}, {"resolve", "AAAAAAAAAAAAAAAA", "--as", "active", "--who", "a", "--why", "b"}} {
		if r := o.run(exitFailure, append([]string{"review"}, args...)...); !strings.Contains(r.stderr, "AAAAAAAAAAAAAAAA") {
			t.Errorf("%+v", r)
		}
	}
	for _, args := range [][]string{{}, {"eat"}, {"ls", "--account", "nobody"}, {"show"}, {"resolve", "not a scan", "--as", "active"}} {
		o.run(exitUsage, append([]string{"review"}, args...)...)
	}
	if r := o.run(exitFine, "review", "ls"); !strings.Contains(r.stdout, "Nothing waits") {
		t.Errorf("%+v", r)
	}
}
