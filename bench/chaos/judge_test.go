package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"decom/nmvs/sim"
	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"

	"github.com/anishathalye/porcupine"
)

// verdict is what the judge found, beside the faults of the rig.
type verdict struct {
	Outcomes map[string]int // by result/reason
	Alerts   int
	Appends  int
	History  string
	Parked   int
	Recovery time.Duration // from the end of the last fault to the last outcome
}

// outcomes reads DECOM_OUTCOMES, by event id.
func (r *rig) outcomes() (map[string][]scan.Outcome, time.Time, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	by, last := map[string][]scan.Outcome{}, time.Time{}
	err := r.conn.Outcomes(ctx, queue.OutcomeFilter{}, func(s queue.StoredOutcome) error {
		var o scan.Outcome
		if err := json.Unmarshal(s.Body, &o); err != nil {
			return err
		}
		by[o.EventID] = append(by[o.EventID], o)
		last = s.Time
		return nil
	})
	return by, last, err
}

// settle waits until every scan has an outcome, no scan and no record waits, and nothing is
// open or due.
func (r *rig) settle(want int, patience time.Duration) (map[string][]scan.Outcome, time.Time, error) {
	var got map[string][]scan.Outcome
	var last time.Time
	err := eventually(patience, func() (err error) {
		if got, last, err = r.outcomes(); err != nil {
			return err
		}
		if len(got) < want {
			time.Sleep(200 * time.Millisecond)
			return fmt.Errorf("%d of %d scans have an outcome", len(got), want)
		}
		return r.quiet()
	})
	return got, last, err
}

func (r *rig) quiet() error {
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	for _, a := range r.plan.accounts() {
		p, err := r.conn.Scans(a.Name).Pending(ctx)
		if err != nil {
			return err
		}
		n, err := r.conn.Outbox(a.Name).Pending(ctx)
		if err != nil {
			return err
		}
		if p.Pending+p.AckPending+n > 0 {
			return fmt.Errorf("%s: %d scans wait, %d are out, %d records are not told", a.Name, p.Pending, p.AckPending, n)
		}
	}
	return nil
}

func wordOf(o scan.Outcome) string {
	if o.Reason == "" {
		return string(o.Result)
	}
	return string(o.Result) + "/" + string(o.Reason)
}

// attempt is one opened attempt as the ledger tells it.
type attempt struct {
	account string
	seq     uint64
	opened  time.Time               // when the stream took the record
	closed  map[scan.PackID]closing // by pack
}

type closing struct {
	at   time.Time
	kind ledger.Kind
}

// book is an account's ledger read back.
type book struct {
	states   ledger.States
	head     ledger.Head
	chain    chain
	attempts map[string]*attempt // by ClientTrxId, those of a mixed bulk's items too
}

// read follows the ledger from its first record and checks each link, and that no event is
// disposed of twice.
func (r *rig) read(account string) (*book, error) {
	b := &book{states: ledger.States{}, attempts: map[string]*attempt{}}
	noted, opened := map[string]bool{}, map[string]bool{}
	ctx, cancel := context.WithTimeout(r.t.Context(), 5*time.Minute) // a soak's ledger on a starved machine
	defer cancel()
	_, err := r.conn.Ledger(account).Read(ctx, 1, func(e queue.Entry) error {
		rec, err := ledger.Decode(e.Payload, account)
		if err != nil {
			return err
		}
		if prev := (ledger.Head{Seq: rec.PrevSeq, Hash: rec.Prev}); prev != b.head {
			return fmt.Errorf("record %d follows %v, not %v", e.Seq, prev, b.head)
		}
		b.head = e.Head()
		b.chain.add(e.Seq, e.Hash)
		for i := range rec.Note {
			n := &rec.Note[i]
			// Published again after a loss, an undo whose clock is ahead of NATS's comes with a later key: a repetition, noted as one.
			again := r.plan.losesLedger() && n.Op.IsUndo()
			if n.K != "" && (noted[n.Ev] || opened[n.Ev]) && !again {
				r.fault("OUT: record %d of %s disposes of event %s once more", e.Seq, account, n.Ev)
			}
			noted[n.Ev] = true
		}
		b.open(account, e, rec)
		for i := range rec.Open {
			for j := range rec.Open[i].Packs {
				ev := rec.Open[i].Packs[j].Ev
				if noted[ev] {
					r.fault("OUT: record %d of %s opens event %s, which has its outcome", e.Seq, account, ev)
				}
				opened[ev] = true
			}
		}
		b.close(e, rec)
		if !r.plan.losesLedger() && slices.ContainsFunc(rec.Fact, func(f ledger.Fact) bool { return f.Kind == ledger.Halt }) {
			r.fault("STOP: account %s halted, and nothing was lost that would call for it: record %d", account, e.Seq)
		}
		_, err = ledger.Fold(e.Seq, rec, b.states)
		return err
	})
	return b, err
}

func (b *book) open(account string, e queue.Entry, rec *ledger.Record) {
	for i := range rec.Open {
		o := &rec.Open[i]
		a := &attempt{account: account, seq: e.Seq, opened: e.Time, closed: map[scan.PackID]closing{}}
		b.attempts[o.C] = a
		for j := range o.Packs {
			b.attempts[o.Trx(j)] = a
		}
	}
}

// close notes when an attempt ceased to be open for a pack: from then on no byte of it may
// take effect (HELD).
func (b *book) close(e queue.Entry, rec *ledger.Record) {
	for i := range rec.Fact {
		f := &rec.Fact[i]
		a := b.attempts[f.C]
		if a == nil {
			continue
		}
		switch f.Kind {
		case ledger.Result, ledger.Off, ledger.Release, ledger.Park, ledger.Review:
			for _, p := range f.Packs {
				if st := b.states[p.K]; st.IsOpen(a.seq) {
					a.closed[p.K] = closing{e.Time, f.Kind}
				}
			}
		}
	}
}

// judge holds everything against everything and notes what is wrong.
func (r *rig) judge(all []sent, got map[string][]scan.Outcome) verdict {
	v := verdict{Outcomes: map[string]int{}}
	r.judgeOutcomes(all, got, &v)
	var entries []sim.Entry
	if err := r.sim.get("/ledger", &entries); err != nil {
		r.fault("the simulator's call ledger: %v", err)
	}
	var store *packstate.Store
	if r.redis.main != nil {
		var err error
		if store, err = packstate.Open(r.t.Context(), r.redis.config()); err != nil {
			r.fault("open Redis: %v", err)
			return v
		}
		defer store.Close()
	}
	ids := map[sim.Key]scan.PackID{}
	for _, s := range all {
		ids[keyOf(s.pack)] = s.pack.ID()
	}
	histories := []string{}
	opened, parked, unread := map[string]bool{}, map[scan.PackID]bool{}, false
	for _, a := range r.plan.accounts() {
		b, err := r.read(a.Name)
		if err != nil {
			r.fault("CHAIN: %s: %v", a.Name, err)
			unread = true
			continue
		}
		r.judgeCalls(b, ids, entries)
		r.judgePacks(b, a.Name, all, got, &v)
		r.judgeProjection(b, a.Name, store)
		histories = append(histories, r.judgeHistory(b, a.Name, &v))
		for c := range b.attempts {
			opened[c] = true
		}
		for k, s := range b.states {
			parked[k] = s.Phase == ledger.Parked
		}
	}
	r.judgeStrange(all, got, entries)
	for i := range entries {
		e := &entries[i]
		if e.Key.Serial != "" && !reads[e.Op] && !opened[e.C] && !unread && !(r.plan.losesLedger() && parked[ids[e.Key]]) { // its record is lost, its pack put aside
			r.fault("WITNESS: call %q (%s) for pack %s reached NMVS, and no record opened it", e.C, e.Op, e.Key)
		}
	}
	v.History = strings.Join(histories, "+")
	r.keepCalls(entries)
	r.judgeNMVS(&v)
	r.judgeLogs()
	r.judgeCommands(v)
	return v
}

func (r *rig) judgeOutcomes(all []sent, got map[string][]scan.Outcome, v *verdict) {
	known := map[string]bool{}
	for _, s := range all {
		known[s.id] = true
		outs := got[s.id]
		switch {
		case len(outs) == 0:
			r.fault("KEPT: scan %s has no outcome", s.id)
			continue
		case len(outs) > 1 && !r.plan.losesLedger(): // what was told under lost records may be told anew
			r.fault("OUT: scan %s has %d outcomes", s.id, len(outs))
		}
		word := wordOf(outs[0])
		v.Outcomes[word]++
		ok := slices.Contains(allowed(s.op), word) || r.plan.losesLedger() && word == "unresolved/ledger_loss"
		ok = ok || r.plan.Doubt == "sameid" && word == "unresolved/no_answer" // used, and not INACTIVE within T_RESULT
		if !ok && !s.strange {
			r.fault("OUT: scan %s (%s by %s): %s (code %s)", s.id, s.op, s.device, word, outs[0].Code)
		}
	}
	for id := range got {
		if !known[id] {
			r.fault("OUT: an outcome for event %q, which nobody sent", id)
		}
	}
}

// allowed are the outcomes that a scan of a pack in order may have, whatever crashes.
func allowed(op scan.Op) []string {
	list := []string{"done", "done/confirmed", "duplicate", "duplicate/suspect_copy", "refused/parked",
		"unresolved/doubtful_twice", "unresolved/no_evidence", "unresolved/never_executed"}
	if op.IsUndo() {
		return append(list, "unresolved/undo_doubtful", "refused/not_ours", "refused/order", "refused/superseded")
	}
	return append(list, "refused/superseded", "refused/order")
}

// keepCalls leaves NMVS's call ledger beside the run's logs; a good run removes all of it.
func (r *rig) keepCalls(entries []sim.Entry) {
	var b strings.Builder
	for i := range entries {
		e, _ := json.Marshal(&entries[i]) // an Entry has nothing that cannot be written
		b.Write(append(e, '\n'))
	}
	write(r.t, filepath.Join(r.dir, "nmvs-calls"), b.String())
}

// reads are the operation codes that change nothing.
var reads = map[string]bool{"G110": true, "G115": true}

// judgeCalls holds NMVS's call ledger against ours, call by call.
func (r *rig) judgeCalls(b *book, ids map[sim.Key]scan.PackID, entries []sim.Entry) {
	seen := map[string]int{}
	for i := range entries {
		e := &entries[i]
		if e.Key.Serial == "" || e.C == "" || reads[e.Op] {
			continue
		}
		a := b.attempts[e.C]
		if a == nil {
			continue // another account's; what nobody opened is told by judge
		}
		if strings.HasPrefix(e.Fault, sim.Late+" ") && !e.Effect && e.Code == "" {
			continue // the arrival of a call that is carried out later, under a line of its own
		}
		at := e.C + "|" + e.Key.String()
		sameID := r.plan.Doubt == "sameid" // the same bytes again, of which NMVS carries out one
		if sameID && !e.Effect {
			continue
		}
		if seen[at]++; seen[at] > 1 {
			r.fault("BYTES: call %s reached NMVS %d times for pack %s", e.C, seen[at], e.Key)
		}
		if e.At.Before(a.opened) {
			r.fault("WITNESS: call %s was carried out at %s, its record %d is of %s", e.C, clock(e.At), a.seq, clock(a.opened))
		}
		k := ids[e.Key]
		if c, ok := a.closed[k]; ok && e.At.After(c.at) {
			r.fault("HELD: call %s for pack %s was carried out at %s, but %s closed it at %s (fault %q, effect %v)", e.C, e.Key, clock(e.At), c.kind, clock(c.at), e.Fault, e.Effect)
		}
	}
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

// judgePacks holds each pack's fold against NMVS and against what its newest scan asked.
func (r *rig) judgePacks(b *book, account string, all []sent, got map[string][]scan.Outcome, v *verdict) {
	newest := map[scan.PackID]sent{}
	told := map[scan.PackID]bool{}
	for _, s := range all {
		if s.account != account {
			continue
		}
		k := s.pack.ID()
		if o, ok := newest[k]; !ok || s.at.After(o.at) {
			newest[k] = s
		}
		for _, o := range got[s.id] {
			// What was told before the loss may be lost with it, or stand in the way of another word: then decom
			// review ls tells of the pack, which judgeCommands holds.
			if o.Result == scan.Unresolved || o.Result == scan.Alert || r.plan.losesLedger() {
				told[k] = true
			}
		}
	}
	for k, s := range newest {
		st, key := b.states[k], keyOf(s.pack)
		var p sim.PackState
		if err := r.sim.get("/packs/"+url.PathEscape(key.String()), &p); err != nil && !errors.Is(err, os.ErrNotExist) {
			r.fault("the simulator's pack %s: %v", key, err)
			continue
		}
		inactive := p.State == "INACTIVE"
		switch st.Phase {
		case ledger.Opened, ledger.Due:
			r.fault("LIVE: pack %s is %s at the end", key, st.Phase)
		case ledger.Parked:
			v.Parked++
			if !told[k] {
				r.fault("TOLD: pack %s waits for a person whom no outcome tells", key)
			}
		case ledger.Inactive:
			if !inactive {
				r.fault("TRUTH: pack %s is inactive on the ledger, %q at NMVS", key, p.State)
			}
			for _, m := range p.Reasons {
				if m.User == "" {
					r.fault("OURS: pack %s is inactive by a stranger (%s)", key, m.Reason)
				}
			}
		case ledger.Free:
			if inactive && !s.strange {
				r.fault("TRUTH: pack %s is free on the ledger, inactive at NMVS", key)
			}
		}
		if out := got[s.id]; len(out) > 0 && st.Phase != ledger.Parked && (out[0].Result == scan.Done || out[0].Result == scan.Duplicate) && inactive == s.op.IsUndo() {
			r.fault("FINAL: the newest scan %s of pack %s asked %s and was told %s; NMVS has %q", s.id, key, s.op, wordOf(out[0]), p.State)
		}
	}
}

// judgeProjection holds Redis against the fold. An idle account may not have been projected
// to its last record yet.
func (r *rig) judgeProjection(b *book, account string, store *packstate.Store) {
	if store == nil {
		return // embedded in its process: nobody else may look
	}
	err := eventually(15*time.Second, func() error {
		h, ok, err := store.Head(r.t.Context(), account)
		if err == nil && (!ok || h != b.head) {
			err = fmt.Errorf("Redis shows %v (%v), the ledger ends with %v", h, ok, b.head)
		}
		return err
	})
	if err != nil {
		r.fault("PROJECTION: %s: %v", account, err)
		return
	}
	err = store.Each(r.t.Context(), account, func(k scan.PackID, s ledger.State) error {
		if want := b.states[k]; want.Phase != s.Phase || want.Changed != s.Changed {
			return fmt.Errorf("pack %s: %s changed by %d in Redis, %s by %d on the ledger", k, s.Phase, s.Changed, want.Phase, want.Changed)
		}
		return nil
	})
	if err != nil {
		r.fault("PROJECTION: %s: %v", account, err)
	}
}

func (r *rig) judgeHistory(b *book, account string, v *verdict) string {
	if r.plan.Long || r.plan.losesLedger() { // no register that loses what it acknowledged is linearizable
		v.Appends += len(b.chain.seqs)
		return "not taken"
	}
	var ops []*op
	for _, o := range r.tap.history() {
		if o.account == account {
			ops = append(ops, o)
		}
	}
	result, n, bad := checkHistory(ops, &b.chain, 30*time.Second)
	v.Appends += len(b.chain.seqs)
	for _, text := range bad {
		r.fault("%s (%s)", text, account)
	}
	if result == porcupine.Illegal {
		r.fault("CHAIN: the history of %d operations on %s's ledger is not that of a compare-and-set register", n, account)
		r.tellHistory(ops, account)
	}
	return fmt.Sprintf("%s(%d)", result, n)
}

// tellHistory keeps the operations beside the run's logs.
func (r *rig) tellHistory(ops []*op, account string) {
	var b strings.Builder
	for _, o := range ops {
		fmt.Fprintf(&b, "%+v\n", *o)
	}
	write(r.t, filepath.Join(r.dir, "history-"+account), b.String())
}

// judgeNMVS asks the simulator, which shares no code with the worker.
func (r *rig) judgeNMVS(v *verdict) {
	var s sim.Verdict
	if err := r.sim.get("/verdict", &s); err != nil {
		r.fault("the simulator's verdict: %v", err)
		return
	}
	if s.Counts.SentTwice > 0 {
		r.fault("ONCE: %d packs were sent twice: %+v", s.Counts.SentTwice, s.Bad)
	}
	if s.Counts.UndoTwice > 0 {
		r.fault("UNDO: %d packs were undone twice: %+v", s.Counts.UndoTwice, s.Bad)
	}
	for _, n := range s.Counts.Alerts { // for which packs: judgeStrange
		v.Alerts += n
	}
	if n := s.Counts.SelfAlerts; n > 0 || v.Alerts > 0 && r.plan.Strange == 0 {
		r.fault("BRAKE: %d alerts %v, %d by a repeat", v.Alerts, s.Counts.Alerts, n)
	}
}

func (r *rig) judgeLogs() {
	for _, w := range r.procs {
		for text := range strings.Lines(w.log()) {
			for _, bad := range []string{"DATA RACE", "panic:", "fatal error:", "account loop failed", `"level":"ERROR"`} {
				if strings.Contains(text, bad) && !(r.plan.losesLedger() && lossWord(text)) {
					r.fault("LOG: %s: %s", w.name, strings.TrimSpace(text))
				}
			}
		}
	}
}

// lossWord says whether a log line is one that a loss may bring: the halt, and an attempt whose
// record is gone before the halt.
func lossWord(text string) bool {
	return strings.Contains(text, `"account halted"`) || strings.Contains(text, "account loop failed") && strings.Contains(text, "no such record")
}

// judgeCommands asks the program what a person would ask it at the end: is the ledger whole,
// and who waits for me?
func (r *rig) judgeCommands(v verdict) {
	config := r.desk()
	if out, err := r.patient("ledger", "verify", "--config", config); err != nil {
		r.fault("CHAIN: decom ledger verify: %v\n%s", err, out)
	}
	out, err := r.patient("review", "ls", "--json", "--config", config)
	if err != nil {
		r.fault("TOLD: decom review ls: %v\n%s", err, out)
	}
	if n := strings.Count(out, `"what":"pack"`); n != v.Parked {
		r.fault("TOLD: decom review ls shows %d packs, %d wait", n, v.Parked)
	}
}

// desk is a person's configuration, past all proxies. With the pack state embedded it is the
// folder of the process that holds it.
func (r *rig) desk() string {
	dir := r.sub("desk")
	config := filepath.Join(dir, "decom.yaml")
	if r.redis.main == nil {
		dir = filepath.Dir(r.procs[0].config)
	}
	write(r.t, config, r.yaml(dir, r.natsURL(), r.redis.yaml(""), r.sim.addr))
	return config
}

// patient runs a command again while it says that a server is down: on a busy machine one
// may be slow.
func (r *rig) patient(args ...string) (out string, err error) {
	for range 5 {
		out, err = r.decom(args...)
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != exitDown {
			break
		}
		time.Sleep(2 * time.Second)
	}
	return out, err
}

func (r *rig) decom(args ...string) (string, error) {
	bin, err := decomBinary()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Env = []string{"HOME=" + r.dir, "PATH=" + os.Getenv("PATH")}
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String() + errs.String(), err
	}
	return out.String(), nil
}
