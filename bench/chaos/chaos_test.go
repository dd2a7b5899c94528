package chaos

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	chaosFlag   = flag.Bool("chaos", false, "run TestChaos: real processes, real faults, about 20 s a run")
	runsFlag    = flag.Int("runs", 20, "runs of TestChaos")
	seedFlag    = flag.Uint64("seed", 1, "seed of the first run; the next has the next")
	sideFlag    = flag.Int("side", 3, "runs of TestChaos side by side: they wait far more than they compute")
	faultFlag   = flag.String("fault", "", "only plans in which this fault is (a part of its name, or of what the plan prints), or combined")
	binFlag     = flag.String("bin", "", "a decom binary to try; default: the one of this tree, built first")
	stepBinFlag = flag.String("stepbin", "", "a decom binary whose clock can be stepped; default: built by the first run that needs it")
	keepFlag    = flag.String("keep", "", "folder under which failing runs keep their files; default: a new temporary one")
)

// TestChaos runs plans drawn from seeds. Each prints a line; one that fails says how to
// repeat it and keeps its files.
func TestChaos(t *testing.T) {
	if !*chaosFlag {
		t.Skip("chaos on real processes takes minutes; ask for it with -chaos, or make chaos")
	}
	keep := keepDir(t)
	var wg sync.WaitGroup
	seeds := make(chan uint64)
	tally := &tally{recovery: map[string][]time.Duration{}}
	for range *sideFlag {
		wg.Go(func() {
			for seed := range seeds {
				p := draw(seed)
				t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { oneRun(t, p, keep, tally) })
			}
		})
	}
	seed := *seedFlag
	for range *runsFlag {
		for !draw(seed).has(*faultFlag) {
			seed++
		}
		seeds <- seed
		seed++
	}
	close(seeds)
	wg.Wait()
	fmt.Print(tally.String())
}

func keepDir(t *testing.T) string {
	if *keepFlag != "" {
		if err := os.MkdirAll(*keepFlag, 0o755); err != nil {
			t.Fatal(err)
		}
		return *keepFlag
	}
	dir, err := os.MkdirTemp("", "decom-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) }) // stays if something is kept in it
	return dir
}

// tally is what all runs together came to.
type tally struct {
	mu                     sync.Mutex // guards the rest
	begun                  int        // those that did not get as far as a verdict, too: no right, or no server in time
	runs, combined, failed int
	scans, parked, appends int
	recovery               map[string][]time.Duration // by the name of a lone fault, or "combined"
	failures               []uint64
}

func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	if n := t.begun - t.runs; n > 0 {
		fmt.Fprintf(&b, "chaos: %d runs came to no verdict: what they needed could not be started, see above\n", n)
	}
	switch {
	case t.failed > 0:
		fmt.Fprintf(&b, "chaos: %d of %d runs FAILED, seeds %v, see above", t.failed, t.runs, t.failures)
	case t.runs > 0:
		fmt.Fprintf(&b, "chaos: %d good: nothing lost, nothing sent twice, no alert for a pack in order, nobody left waiting in silence", t.runs)
	default:
		b.WriteString("chaos: no verdict")
	}
	fmt.Fprintf(&b, "\nchaos: runs %d, combined %d; scans %d, packs left to a person %d, ledger records %d\n", t.runs, t.combined, t.scans, t.parked, t.appends)
	names := []string{}
	for n := range t.recovery {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		d := t.recovery[n]
		slices.Sort(d)
		fmt.Fprintf(&b, "from the last fault to the last outcome\t%s\t%d times\tmedian %.1f s\tmost %.1f s\n", n, len(d), d[len(d)/2].Seconds(), d[len(d)-1].Seconds())
	}
	return b.String()
}

// oneRun is one seed from the first server to the verdict.
func oneRun(t *testing.T, p plan, keep string, all *tally) {
	all.mu.Lock()
	all.begun++
	all.mu.Unlock()
	dir := filepath.Join(keep, fmt.Sprintf("seed-%d", p.Seed))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after every server is gone
		if !t.Failed() {
			_ = os.RemoveAll(dir)
		}
	})
	began := time.Now()
	r := newRig(t, p, dir)
	ready := time.Since(began)
	v, scans := r.play()
	word := "ok"
	if len(r.bad) > 0 {
		word = "FAILED"
		fmt.Printf("seed %d: %s\n", p.Seed, strings.Join(r.bad, "\n  "))
		t.Errorf("%s\nagain: go test ./bench/chaos -run 'TestChaos' -count=1 -chaos -runs 1 -seed %d\nfiles: %s", strings.Join(r.bad, "\n"), p.Seed, dir)
	}
	kind := "single"
	if p.Combined {
		kind = "combined"
	}
	if len(r.bad) > 0 && len(r.did) > 0 {
		fmt.Printf("seed %d, what the person did: %s\n", p.Seed, strings.Join(r.did, "\n  "))
	}
	fmt.Printf("seed %d %s %s: %s; settled %.1f s after the last fault; %d scans %v; parked %d, records %d, history %s; start %.1f s, run %.1f s\n",
		p.Seed, word, kind, p, v.Recovery.Seconds(), scans, v.Outcomes, v.Parked, v.Appends, v.History, ready.Seconds(), time.Since(began).Seconds())
	all.mu.Lock()
	defer all.mu.Unlock()
	all.runs++
	all.scans += scans
	all.parked += v.Parked
	all.appends += v.Appends
	name := "combined"
	if !p.Combined {
		name = p.Steps[0].Fault
	} else {
		all.combined++
	}
	all.recovery[name] = append(all.recovery[name], v.Recovery)
	if len(r.bad) > 0 {
		all.failed++
		all.failures = append(all.failures, p.Seed)
	}
}

// patience is how long a line may need after the last fault: two holds, a breaker that stays
// open for half a minute, and a consumer whose acknowledgements were a minute away; twice that on a
// machine that starves it (seed 3090, load 70: calls ran into T_HTTP for a minute).
const patience = 240 * time.Second

// play pours the scans, lets the faults begin and end, waits for rest and judges.
func (r *rig) play() (verdict, int) {
	l := &load{r: r, rng: rand.New(rand.NewPCG(r.plan.Seed, 1))}
	ctx, cancel := context.WithTimeout(r.t.Context(), r.plan.Pour+3*time.Minute)
	defer cancel()
	if err := l.strangers(); err != nil {
		r.t.Fatal(err)
	}
	poured := make(chan error, 1)
	go func() { poured <- l.pour(ctx) }()
	if r.plan.losesLedger() {
		desk, home := context.WithCancel(r.t.Context())
		gone := make(chan struct{})
		go func() { defer close(gone); r.person(desk, l) }()
		defer func() { home(); <-gone }()
	}
	r.timeline()
	if err := <-poured; err != nil {
		r.fault("the robots could not publish: %v", err)
	}
	healed := time.Now()
	for _, w := range r.procs {
		if err := w.serving(40 * time.Second); err != nil {
			r.fault("LIVE: %v", err)
		}
	}
	if err := r.redeliverSoon(30 * time.Second); err != nil {
		r.fault("set the consumers up again: %v", err)
	}
	if r.plan.losesLedger() {
		if err := r.reconciled(patience); err != nil {
			r.fault("LIVE: after the loss: %v", err)
		}
	}
	sent := l.all()
	got, last, err := r.settle(len(sent), patience)
	if err != nil {
		r.fault("LIVE: no rest within %v after the last fault: %v", patience, err)
		r.tellStatus()
	}
	if err := r.settleStates(30 * time.Second); err != nil {
		r.fault("LIVE: %v", err)
	}
	v := r.judge(sent, got)
	if v.Recovery = last.Sub(healed); v.Recovery < 0 {
		v.Recovery = 0
	}
	return v, len(sent)
}

// settleStates waits until no process has anything open: a scan may have its outcome while
// the resolver still looks after a pack.
func (r *rig) settleStates(patience time.Duration) error {
	return eventually(patience, func() error {
		for _, w := range r.procs {
			s, err := w.status()
			if err != nil {
				return err
			}
			for _, a := range s.Accounts {
				if a.Open+a.Due > 0 {
					return fmt.Errorf("%s: %s has %d packs open and %d due", w.name, a.Account, a.Open, a.Due)
				}
			}
		}
		return nil
	})
}

// tellStatus keeps each process's own view beside its log.
func (r *rig) tellStatus() {
	for _, w := range r.procs {
		if s, err := w.status(); err == nil {
			r.fault("status of %s: %+v", w.name, s.Accounts)
		}
	}
}

// timeline begins and ends the plan's faults when their time has come, one after another.
func (r *rig) timeline() {
	type event struct {
		at   time.Duration
		do   func() error
		name string
	}
	var events []event
	for _, s := range r.plan.Steps {
		k := faultByName(s.Fault)
		events = append(events, event{s.At, func() error {
			end, err := k.begin(r, s)
			if err == nil && end != nil {
				events = append(events, event{s.At + s.For, end, s.Fault + " ends"})
			}
			return err
		}, s.Fault})
	}
	began := time.Now()
	for len(events) > 0 {
		slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
		e := events[0]
		events = events[1:]
		time.Sleep(e.at - time.Since(began))
		if err := e.do(); err != nil {
			r.fault("rig: %s: %v", e.name, err)
		}
	}
}
