package chaos

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"decom/queue"
	"decom/worker/scan"
)

var (
	movesFlag = flag.Bool("moves", false, "run TestAccountsMove and TestRollingRestart: workers come and go under load")
	scaleFlag = flag.String("scale", "", "run TestScale for these workers x accounts, as in 1x10,3x200")
)

// stacks are what issue 6 asks `decom run` to be tried against.
func stacks() map[string]plan {
	base := plan{AOF: true, Mode: "single", Settle: "e4", Accounts: 12, Latency: 20 * time.Millisecond, Cluster: true}
	sentinel, cluster := base, base
	sentinel.Redis, cluster.Redis = "sentinel", "cluster"
	return map[string]plan{"three NATS, Redis Sentinel": sentinel, "three NATS, Redis Cluster of three": cluster}
}

// TestAccountsMove adds a process to two under load, and kills one: accounts move within
// seconds and nothing is sent twice.
func TestAccountsMove(t *testing.T) {
	if !*movesFlag {
		t.Skip("real processes, a minute and a half; ask for it with -moves")
	}
	for name, p := range stacks() {
		t.Run(name, func(t *testing.T) {
			p.Seed, p.Workers, p.Packs, p.Pour, p.Batches = 800_001, 2, 75, 36*time.Second, 180
			dir := emptyDir(t, "moves-"+p.Redis)
			r := newRig(t, p, dir)
			late := r.newWorker(2)
			sent, s := r.underLoad(func(s *shares, began time.Time) {
				time.Sleep(time.Until(began.Add(10 * time.Second)))
				s.mark("the third process starts")
				r.procs = append(r.procs, late)
				late.start()
				s.await(r, "the third process serves accounts", 30*time.Second, func(of []int) bool { return of[2] >= 2 && of[0]+of[1]+of[2] == p.Accounts })
				time.Sleep(time.Until(began.Add(24 * time.Second)))
				s.mark("kill -9 of the first process")
				if err := r.procs[0].end(syscall.SIGKILL, 5*time.Second); err != nil {
					r.fault("%v", err)
				}
				s.gone[0] = true
				s.await(r, "the other two serve every account", 40*time.Second, func(of []int) bool { return of[1]+of[2] == p.Accounts })
			})
			r.procs = r.procs[1:]
			r.tellMoves(t, name, sent, s, dir)
		})
	}
}

// TestRollingRestart restarts three workers one after another under load: nothing is lost,
// nothing twice, and no outcome is later than the restart itself explains.
func TestRollingRestart(t *testing.T) {
	if !*movesFlag {
		t.Skip("real processes, a minute and a half; ask for it with -moves")
	}
	for name, p := range stacks() {
		t.Run(name, func(t *testing.T) {
			p.Seed, p.Workers, p.Packs, p.Pour, p.Batches = 800_002, 3, 85, 40*time.Second, 200
			p.Steady = true // a graceful stop leaves nothing to be redelivered
			dir := emptyDir(t, "rolling-"+p.Redis)
			r := newRig(t, p, dir)
			sent, s := r.underLoad(func(s *shares, began time.Time) {
				for i, w := range r.procs {
					time.Sleep(time.Until(began.Add(time.Duration(6+10*i) * time.Second)))
					s.away = append(s.away, span{from: time.Now()})
					s.mark("SIGTERM to " + w.name)
					at := time.Now()
					if err := w.end(syscall.SIGTERM, 40*time.Second); err != nil {
						r.fault("%v", err)
					}
					s.mark(fmt.Sprintf("%s has drained after %.1f s", w.name, time.Since(at).Seconds()))
					w.start()
					if err := w.serving(40 * time.Second); err != nil {
						r.fault("%v", err)
					}
					s.away[i].to = time.Now()
					s.mark(fmt.Sprintf("%s is back after %.1f s", w.name, time.Since(at).Seconds()))
				}
			})
			r.tellMoves(t, name, sent, s, dir)
		})
	}
}

// emptyDir is a run's folder under the one that is kept.
func emptyDir(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(keepDir(t), name)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// shares is who serves how many accounts, sampled while a run goes on.
type shares struct {
	began time.Time
	gone  map[int]bool
	last  map[int]int // what a process said when it last answered
	away  []span      // when a process was on its way out or back in, one after another
	lines []string
}

func (s *shares) mark(what string) {
	s.lines = append(s.lines, fmt.Sprintf("%5.1f s  %s", time.Since(s.began).Seconds(), what))
}

// count asks every process how many accounts it serves.
func (s *shares) count(r *rig) []int {
	of := make([]int, len(r.procs))
	for i, w := range r.procs {
		if s.gone[i] {
			continue
		}
		st, err := w.status()
		if err != nil {
			of[i] = s.last[i]
			continue
		}
		for _, a := range st.Accounts {
			if a.Rank == 0 {
				of[i]++
			}
		}
		s.last[i] = of[i]
	}
	return of
}

// await marks when a share is reached.
func (s *shares) await(r *rig, what string, patience time.Duration, ok func([]int) bool) {
	at := time.Now()
	var of []int
	err := eventually(patience, func() error {
		if of = s.count(r); !ok(of) {
			return fmt.Errorf("accounts served: %v", of)
		}
		return nil
	})
	if err != nil {
		r.fault("LIVE: %s: not within %v: %v", what, patience, err)
	}
	s.mark(fmt.Sprintf("%s after %.1f s: accounts served %v", what, time.Since(at).Seconds(), of))
}

// underLoad runs do while scans come for every account, and returns what was sent.
func (r *rig) underLoad(do func(s *shares, began time.Time)) ([]sent, *shares) {
	l := &load{r: r, rng: rand.New(rand.NewPCG(r.plan.Seed, 1))}
	ctx, cancel := context.WithTimeout(r.t.Context(), 3*time.Minute)
	defer cancel()
	s := &shares{began: time.Now(), gone: map[int]bool{}, last: map[int]int{}}
	poured := make(chan error, 1)
	go func() { poured <- l.pour(ctx) }()
	do(s, s.began)
	if err := <-poured; err != nil {
		r.fault("the robots could not publish: %v", err)
	}
	return l.all(), s
}

// tellMoves judges and prints the figures: when accounts moved, and how late the outcomes were
// in each second of the run.
func (r *rig) tellMoves(t *testing.T, name string, all []sent, s *shares, dir string) {
	if err := r.redeliverSoon(20 * time.Second); err != nil {
		r.fault("%v", err)
	}
	got, _, err := r.settle(len(all), patience)
	if err != nil {
		r.fault("LIVE: %v", err)
	}
	if err := r.settleStates(30 * time.Second); err != nil {
		r.fault("LIVE: %v", err)
	}
	stored := map[string]time.Time{}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := r.conn.Outcomes(ctx, queue.OutcomeFilter{}, func(o queue.StoredOutcome) error { stored[o.EventID] = o.Time; return nil }); err != nil {
		r.fault("%v", err)
	}
	v := r.judge(all, got)
	var late, latest time.Duration
	bySecond := map[int]time.Duration{}
	n := map[int]int{}
	for _, e := range all {
		if e.op.IsUndo() {
			continue // its time lies half a second ahead
		}
		d := stored[e.id].Sub(e.at)
		latest = max(latest, d)
		if d > 2*time.Second {
			late += 1
		}
		second := int(e.at.Sub(s.began).Seconds())
		bySecond[second] = max(bySecond[second], d)
		n[second]++
	}
	fmt.Printf("%s: %s: %d scans %v, %d later than 2 s, latest %.1f s, parked %d, history %s, wrong: %d\n", t.Name(), name, len(all), v.Outcomes, int(late), latest.Seconds(), v.Parked, v.History, len(r.bad))
	fmt.Println(strings.Join(s.lines, "\n"))
	for second := 0; second <= int(r.plan.Pour.Seconds()); second++ {
		if n[second] > 0 {
			d := bySecond[second]
			fmt.Printf("  second %2d: %3d scans, latest outcome after %5.2f s %s\n", second, n[second], d.Seconds(), strings.Repeat("#", min(60, int(d.Seconds()*4))))
		}
	}
	if len(s.away) > 0 {
		r.judgeLate(all, stored, got, s.away, s.began)
	}
	if len(r.bad) > 0 {
		t.Errorf("%s\nfiles: %s", strings.Join(r.bad, "\n"), dir)
		return
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
}

// judgeLate holds every outcome's delay against what explains it: the part of its wait during
// which some process was on its way out or in, and twice what this very run needed for its slowest
// outcome before the first restart, or 5 s; a noisy machine is slow before, too. Scans whose answer
// was lost wait for their hold, and are counted apart.
func (r *rig) judgeLate(all []sent, stored map[string]time.Time, got map[string][]scan.Outcome, away []span, began time.Time) {
	var baseline, worst time.Duration
	for _, e := range all {
		if end := stored[e.id]; !e.op.IsUndo() && !end.IsZero() && end.Before(away[0].from) {
			baseline = max(baseline, end.Sub(e.at))
		}
	}
	allowed := max(2*baseline, 5*time.Second)
	late, held := []string(nil), 0
	for _, e := range all {
		end := stored[e.id]
		if e.op.IsUndo() || end.IsZero() {
			continue
		}
		rest := end.Sub(e.at) - overlap(span{e.at, end}, away)
		if o := got[e.id]; len(o) > 0 && (o[0].Reason == scan.Confirmed || o[0].Attempts > 1) {
			held++
			continue
		}
		if worst = max(worst, rest); rest > allowed {
			late = append(late, fmt.Sprintf("%s (%s, sent %.1f s, told %.1f s)", e.id, e.op, e.at.Sub(began).Seconds(), end.Sub(began).Seconds()))
		}
	}
	fmt.Printf("  lateness: slowest outcome before the first restart %.2f s; longest wait that no restart explains %.2f s, allowed %.2f s; later: %d; answers lost and held: %d\n",
		baseline.Seconds(), worst.Seconds(), allowed.Seconds(), len(late), held)
	if len(late) > 0 {
		r.fault("LATE: %d outcomes later than the restarts explain, by %.1f s at most: %s", len(late), (worst - allowed).Seconds(), strings.Join(late[:min(len(late), 8)], ", "))
	}
}

// span is a time from one moment to another.
type span struct{ from, to time.Time }

// overlap is how much of s lies in the others, which do not overlap each other.
func overlap(s span, others []span) (sum time.Duration) {
	for _, o := range others {
		from, to := s.from, s.to
		if o.from.After(from) {
			from = o.from
		}
		if o.to.Before(to) {
			to = o.to
		}
		sum += max(0, to.Sub(from))
	}
	return sum
}

func TestOverlapIsTheSharedTime(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(1000+int64(s), 0) }
	away := []span{{at(10), at(20)}, {at(30), at(35)}}
	for _, tc := range []struct{ from, to, want int }{
		{0, 5, 0}, {0, 10, 0}, {0, 12, 2}, {12, 15, 3}, {15, 25, 5}, {5, 40, 15}, {21, 29, 0}, {34, 60, 1},
	} {
		if got := overlap(span{at(tc.from), at(tc.to)}, away); got != time.Duration(tc.want)*time.Second {
			t.Errorf("%d to %d: %v, want %d s", tc.from, tc.to, got, tc.want)
		}
	}
}

// TestScale measures 1 to 3 workers with many accounts: the start, what they use when
// nothing happens, and the rate.
func TestScale(t *testing.T) {
	if *scaleFlag == "" {
		t.Skip("a measurement; ask for it with -scale 1x10,2x200")
	}
	fmt.Println("| workers x accounts | streams and consumers set up | start: processes run | start: one scan of every account has its outcome | idle CPU, all workers (NATS) | packs/s | memory a worker |")
	for text := range strings.SplitSeq(*scaleFlag, ",") {
		var workers, accounts int
		if _, err := fmt.Sscanf(text, "%dx%d", &workers, &accounts); err != nil {
			t.Fatalf("-scale %q: wants WORKERSxACCOUNTS", text)
		}
		t.Run(text, func(t *testing.T) { scaleOf(t, workers, accounts) })
	}
}

func scaleOf(t *testing.T, workers, accounts int) {
	dir := emptyDir(t, "scale")
	began := time.Now()
	r := newRig(t, plan{Seed: 800_003, Mode: "single", Settle: "e4", Accounts: accounts, Direct: true, Long: true}, dir)
	setUp := time.Since(began)
	seen := r.watch(t.Context())
	r.publishEach(1, "start")

	began = time.Now()
	for i := range workers {
		r.procs = append(r.procs, r.newWorker(i))
		r.procs[i].start()
	}
	for _, w := range r.procs {
		if err := w.serving(5 * time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	running := time.Since(began)
	r.until(seen, accounts)
	served := time.Since(began)

	time.Sleep(12 * time.Second) // the first heartbeats and housekeeping are over
	used, nats := r.cpuOf(10 * time.Second)
	each := max(1, 1500/accounts)
	first := time.Now()
	r.publishEach(each, "rate")
	r.until(seen, accounts*(1+each))
	last := seen.last()
	rate := float64(accounts*each) / last.Sub(first).Seconds()

	rss := 0.0
	for _, w := range r.procs {
		if m, err := metricsOf(w.addr()); err == nil {
			rss += m["process_resident_memory_bytes"] / (1 << 20) / float64(workers)
		}
	}
	fmt.Printf("| %d x %d | %.1f s | %.1f s | %.1f s | %.1f %% (%.1f %%) of a core | %.0f | %.0f MiB |\n", workers, accounts, setUp.Seconds(), running.Seconds(), served.Seconds(), used*100, nats*100, rate, rss)
	var v verdict
	r.judgeNMVS(&v)
	r.judgeLogs()
	if len(r.bad) > 0 {
		t.Errorf("%s\nfiles: %s", strings.Join(r.bad, "\n"), dir)
		return
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
}

// publishEach sends n scans of new packs for every account.
func (r *rig) publishEach(n int, name string) {
	r.t.Helper()
	var scans []queue.Scan
	for i, a := range r.plan.accounts() {
		for j := range n {
			id := fmt.Sprintf("%s-%s-%d", name, a.Name, j)
			body := fmt.Sprintf(`{"v":1,"id":%q,"op":"supply","at":%q,"pack":{"scheme":"GTIN","code":%q,"serial":"%s%dX%d","batch":"LOT1","expiry":"341100"}}`,
				id, time.Now().UTC().Format(time.RFC3339Nano), gtin, strings.ToUpper(name[:1]), i, j)
			scans = append(scans, queue.Scan{Site: a.Sites[0], Device: "rowa", ID: id, Body: []byte(body)})
		}
	}
	for len(scans) > 0 {
		k := min(2000, len(scans))
		if _, err := r.conn.PublishScans(r.t.Context(), scans[:k]); err != nil {
			r.t.Fatal(err)
		}
		scans = scans[k:]
	}
}

// until waits for n outcomes in all.
func (r *rig) until(seen *watcher, n int) {
	r.t.Helper()
	r.await(fmt.Sprintf("%d outcomes", n), 10*time.Minute, func() error {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		if len(seen.id) < n {
			return fmt.Errorf("%d of %d", len(seen.id), n)
		}
		return nil
	})
}

func (w *watcher) last() (last time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, at := range w.at {
		if at.After(last) {
			last = at
		}
	}
	return last
}

// cpuOf is the share of one core that the workers, and NATS, use over d.
func (r *rig) cpuOf(d time.Duration) (workers, nats float64) {
	sum := func(pids []int) (used time.Duration) {
		for _, pid := range pids {
			used += cpuTime(pid)
		}
		return used
	}
	var ours, theirs []int
	for _, w := range r.procs {
		ours = append(ours, w.pid())
	}
	for _, s := range r.nats {
		theirs = append(theirs, s.PID())
	}
	a, b := sum(ours), sum(theirs)
	time.Sleep(d)
	return (sum(ours) - a).Seconds() / d.Seconds(), (sum(theirs) - b).Seconds() / d.Seconds()
}

// cpuTime is what a process has used so far (Linux; 0 elsewhere).
func cpuTime(pid int) time.Duration {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * (time.Second / 100)
}
