package chaos

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"
)

var (
	recoveryFlag = flag.Bool("recovery", false, "run TestRecovery: times after the loss of a worker, of NATS's leader and of Redis")
	packsFlag    = flag.Int("packs", 1_000_000, "packs on the ledger when TestRecovery loses Redis")
)

// watcher follows the outcomes as they are stored.
type watcher struct {
	mu sync.Mutex // guards the rest
	at []time.Time
	id map[string]time.Time
}

func (r *rig) watch(ctx context.Context) *watcher {
	w := &watcher{id: map[string]time.Time{}}
	go func() { // ends with ctx
		for ctx.Err() == nil {
			_ = r.conn.Outcomes(ctx, queue.OutcomeFilter{Follow: true}, func(o queue.StoredOutcome) error {
				w.mu.Lock()
				defer w.mu.Unlock()
				if _, ok := w.id[o.EventID]; !ok {
					w.at = append(w.at, o.Time)
					w.id[o.EventID] = o.Time
				}
				return nil
			})
		}
	}()
	return w
}

// gap is the longest time without an outcome that touches the time from on, and when the
// scans sent before then had all got theirs.
func (w *watcher) gap(from time.Time, before []sent) (gap, caughtUp time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortFunc(w.at, time.Time.Compare)
	for i := 1; i < len(w.at); i++ {
		if w.at[i].After(from) && w.at[i].Sub(w.at[i-1]) > gap {
			gap = w.at[i].Sub(w.at[i-1])
		}
	}
	for _, s := range before {
		if at, ok := w.id[s.id]; ok && s.at.Before(from) && at.Sub(from) > caughtUp {
			caughtUp = at.Sub(from)
		}
	}
	return gap, caughtUp
}

// TestRecovery measures, three times each, how long the line stands still. It is a
// measurement of real processes, and a run in which something was lost or sent twice fails.
func TestRecovery(t *testing.T) {
	if !*recoveryFlag {
		t.Skip("a measurement of minutes; ask for it with -recovery")
	}
	keep := keepDir(t)
	steady := plan{AOF: true, Mode: "single", Settle: "e4", Workers: 2, Accounts: 1, Packs: 500, Pour: 25 * time.Second, Batches: 125, Latency: 20 * time.Millisecond, SyncAlways: true}
	cluster := steady
	cluster.Cluster = true
	for _, tt := range []struct {
		name string
		plan plan
		harm func(r *rig) error
	}{
		{"worker that serves the account, kill -9, not started again", steady, func(r *rig) error {
			i := r.server(r.plan.accounts()[0].Name)
			if i < 0 {
				return fmt.Errorf("nobody serves the account")
			}
			w := r.procs[i]
			r.procs = slices.Delete(r.procs, i, i+1)
			return w.end(syscall.SIGKILL, 5*time.Second)
		}},
		{"NATS alone, kill -9, started again at once", steady, func(r *rig) error { r.nats[0].Kill(); r.nats[0].Start(); return nil }},
		{"leader of the ledger's stream of three, kill -9, not started again", cluster, func(r *rig) error {
			n, err := r.ledgerLeader()
			if err == nil {
				r.nats[n].Kill()
			}
			return err
		}},
		{"Redis alone, kill -9, started again at once with its file", steady, func(r *rig) error { r.redis.main.Kill(); r.redis.main.Start(); return nil }},
		{"Redis master of a Sentinel group, kill -9, not started again", sentinel(steady), func(r *rig) error { r.redis.main.Kill(); return nil }},
	} {
		for i := range 3 {
			p := tt.plan
			p.Seed = uint64(900_000 + i)
			t.Run(fmt.Sprintf("%s/%d", tt.name, i), func(t *testing.T) { standstill(t, keep, tt.name, p, tt.harm) })
		}
	}
	t.Run("Redis lost, a long ledger", func(t *testing.T) { longLedger(t, keep, *packsFlag) })
}

func sentinel(p plan) plan { p.Redis = "sentinel"; return p }

// standstill harms a line under steady load and measures.
func standstill(t *testing.T, keep, name string, p plan, harm func(*rig) error) {
	dir := filepath.Join(keep, fmt.Sprintf("recovery-%d", time.Now().UnixNano()))
	r := newRig(t, p, dir)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	seen := r.watch(ctx)
	l := &load{r: r, rng: mrand.New(mrand.NewPCG(p.Seed, 1))}
	poured := make(chan error, 1)
	go func() { poured <- l.pour(ctx) }()
	time.Sleep(8 * time.Second)
	usual, _ := seen.gap(time.Now().Add(-5*time.Second), nil)
	at := time.Now()
	if err := harm(r); err != nil {
		t.Fatal(err)
	}
	if err := <-poured; err != nil {
		t.Fatal(err)
	}
	sent := l.all()
	got, _, err := r.settle(len(sent), patience)
	if err != nil {
		r.fault("LIVE: %v", err)
	}
	gap, caughtUp := seen.gap(at, sent)
	r.judge(sent, got)
	if len(r.bad) > 0 {
		t.Errorf("%s\nfiles: %s", strings.Join(r.bad, "\n"), dir)
		return
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	fmt.Printf("recovery: %s: longest time without an outcome %.1f s (before: %.1f s); last scan of before had its outcome after %.1f s\n", name, gap.Seconds(), usual.Seconds(), caughtUp.Seconds())
}

// server is the process that serves the account, -1 if none says so.
func (r *rig) server(account string) int {
	for i, w := range r.procs {
		s, err := w.status()
		if err != nil {
			continue
		}
		for _, a := range s.Accounts {
			if a.Account == account && a.Rank == 0 {
				return i
			}
		}
	}
	return -1
}

// longLedger writes a ledger of many packs, as a year of a large hospital, and loses Redis
// in three ways.
func longLedger(t *testing.T, keep string, packs int) {
	dir := filepath.Join(keep, "long-ledger")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	p := plan{Seed: 900_100, AOF: true, Mode: "single", Settle: "e4", Workers: 0, Accounts: 1, Long: true, SyncAlways: false}
	r := newRig(t, p, dir)
	account := p.accounts()[0].Name
	began := time.Now()
	records := fillLedger(t, r.conn.Ledger(account), account, packs)
	fmt.Printf("recovery: wrote %d packs in %d records in %.0f s\n", packs, records, time.Since(began).Seconds())

	if err := r.tellAll(account); err != nil {
		t.Fatal(err)
	}

	r.plan.Workers = 1
	w := r.newWorker(0)
	r.procs = []*worker{w}
	began = time.Now()
	w.start()
	if err := w.serving(2 * time.Minute); err != nil {
		t.Fatal(err)
	}
	r.firstOutcome("Redis empty at the start of a worker: start to the outcome of a new scan", began, 1)
	for i, how := range []struct {
		name string
		do   func() error
	}{
		{"FLUSHALL under a running worker: to the outcome of a new scan", func() error { _, err := askRedis(r.redis.main.Addr(), "FLUSHALL"); return err }},
		{"Redis killed, its file lost, started again: to the outcome of a new scan", func() error {
			r.redis.main.Kill()
			if err := removeAOF(r); err != nil {
				return err
			}
			r.redis.main.Start()
			return nil
		}},
	} {
		began = time.Now()
		if err := how.do(); err != nil {
			t.Fatal(err)
		}
		r.firstOutcome(how.name, began, i+2)
	}
	config := filepath.Join(r.sub("desk"), "decom.yaml")
	write(t, config, r.yaml(filepath.Dir(config), r.natsURL(), r.redis.yaml(""), r.sim.addr))
	began = time.Now()
	if out, err := r.decom("ledger", "rebuild", "--account", account, "--who", "bench", "--why", "measured", "--config", config, "--lang", "en"); err != nil {
		t.Errorf("decom ledger rebuild: %v\n%s", err, out)
	}
	fmt.Printf("recovery: decom ledger rebuild of %d packs beside a running worker, the command: %.1f s\n", packs, time.Since(began).Seconds())
	r.firstOutcome("decom ledger rebuild: to the outcome of a new scan", began, 4)
	began = time.Now()
	if out, err := r.decom("ledger", "verify", "--config", config); err != nil {
		t.Errorf("decom ledger verify: %v\n%s", err, out)
	}
	fmt.Printf("recovery: decom ledger verify: %.1f s\n", time.Since(began).Seconds())
	if text, err := askRedis(r.redis.main.Addr(), "INFO", "memory"); err == nil {
		_, text, _ = strings.Cut(text, "used_memory_human:")
		text, _, _ = strings.Cut(text, "\r")
		fmt.Printf("recovery: Redis uses %s for %d packs\n", text, packs)
	}
	store, err := packstate.Open(t.Context(), r.redis.config())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	n := 0
	if err := store.Each(t.Context(), account, func(scan.PackID, ledger.State) error { n++; return nil }); err != nil || n < packs {
		t.Errorf("Redis shows %d of %d packs: %v", n, packs, err)
	}
	if len(r.bad) > 0 {
		t.Errorf("%s", strings.Join(r.bad, "\n"))
	}
}

// firstOutcome publishes a scan of a new pack and waits for its outcome.
func (r *rig) firstOutcome(what string, began time.Time, n int) {
	r.t.Helper()
	l := &load{r: r, rng: mrand.New(mrand.NewPCG(1, 1))}
	pack, err := scan.NewPack(scan.GTIN, gtin, fmt.Sprintf("NEW%05d", n), "LOT1", "341100")
	if err != nil {
		r.t.Fatal(err)
	}
	s := l.event(0, fmt.Sprintf("desk-%d", n), scan.Supply, pack)
	s.ID = fmt.Sprintf("new-%d", n)
	s.Body = []byte(strings.Replace(string(s.Body), "acc-1-e00000", s.ID, 1))
	if err := l.publish(r.t.Context(), []queue.Scan{s}); err != nil {
		r.t.Fatal(err)
	}
	err = eventually(5*time.Minute, func() error {
		got, _, err := r.outcomes()
		if err == nil && len(got[s.ID]) == 0 {
			err = fmt.Errorf("none yet")
		}
		return err
	})
	if err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
	fmt.Printf("recovery: %s: %.1f s\n", what, time.Since(began).Seconds())
}

// fillLedger appends records as the line would have: bulks of 500 packs, opened, then done.
func fillLedger(t *testing.T, l *queue.Ledger, account string, packs int) (records int) {
	t.Helper()
	const bulk = 500
	var head ledger.Head
	put := func(rec *ledger.Record) {
		rec.Account, rec.By, rec.At = account, "bench#0", scan.Time(time.Now())
		b, err := ledger.Encode(rec, head)
		if err == nil {
			head, err = l.Append(t.Context(), head, b)
		}
		if err != nil {
			t.Fatal(err)
		}
		records++
	}
	key := time.Now().Add(-24 * time.Hour).UnixMilli()
	for first := 0; first < packs; first += bulk {
		o := ledger.Open{C: rand.Text(), Svc: ledger.Bulk, Op: scan.Supply, SHA: ledger.Hash(nil), Product: &ledger.Product{Scheme: scan.GTIN, Code: gtin, Batch: "LOT1", Expiry: "341100"}}
		done := ledger.Fact{C: o.C, Kind: ledger.Result}
		for i := range min(bulk, packs-first) {
			n := first + i
			o.Packs = append(o.Packs, ledger.OpenPack{Serial: fmt.Sprintf("L%09d", n), Origin: ledger.Origin{
				Ev: fmt.Sprintf("long-%09d", n), Src: "site-1/rowa-1", Key: key + int64(n), Timed: true, Op: scan.Supply}})
			pack, err := o.Pack(i)
			if err != nil {
				t.Fatal(err)
			}
			done.Packs = append(done.Packs, ledger.FactPack{I: i, K: pack.ID(), Answer: &ledger.Answer{Result: scan.Done, Code: "NMVS_SUCCESS", State: "INACTIVE", NMVSAt: scan.Time(time.Now()), Called: true}})
		}
		put(&ledger.Record{Open: []ledger.Open{o}})
		done.Of = head.Seq
		put(&ledger.Record{Fact: []ledger.Fact{done}})
	}
	return records
}
