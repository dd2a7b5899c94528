package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"decom/nmvs/sim"
	"decom/queue"
	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

// lightFaults disturb a share of the change calls, in pairs: without effect, and with the
// effect but without the answer.
func lightFaults() sim.Settings {
	var s sim.Settings
	s.Latency = sim.Latency{Fixed: sim.Duration(5 * time.Millisecond), Jitter: sim.Duration(20 * time.Millisecond)}
	for _, f := range []sim.Fault{
		{Kind: sim.Reset, When: sim.Before}, {Kind: sim.Reset, When: sim.After},
		{Kind: sim.Cut, When: sim.After}, {Kind: sim.Code, When: sim.Before, Code: "NMVS_TI_TO_01"},
		{Kind: sim.Reset, When: sim.Late, Delay: sim.Duration(time.Second)},
	} {
		s.Faults = append(s.Faults, sim.Rule{Ops: []string{"G120", "G125", "G195"}, P: 0.006, Fault: f})
	}
	return s
}

// flow is a stream of scans as robots make them: packs once, some of them again by the
// same message, some by another device.
type flow struct {
	l     *line
	packs []scan.Pack
	again []queue.Scan
}

// pour publishes all packs in batches, with repeats of older ones between.
func (f *flow) pour(rng *rand.Rand, pause time.Duration) {
	f.l.t.Helper()
	const batch = 25
	for len(f.packs) > 0 {
		n := min(batch, len(f.packs))
		scans := f.l.supply(f.packs[:n])
		f.l.publish(f.again)
		f.again = []queue.Scan{scans[rng.IntN(n)], scans[rng.IntN(n)]} // a robot that saw no ack
		i := rng.IntN(n)                                               // another device has the pack too; whose scan comes first is open
		either := append([]string{"duplicate", "duplicate/suspect_copy", "refused/parked"}, clean...)
		f.l.want[scans[i].ID] = sentScan{f.packs[i], either}
		f.l.publish([]queue.Scan{f.l.event("counter", fmt.Sprintf("%s-again-%d", f.l.account, len(f.l.want)), scan.Supply, f.packs[i], either...)})
		f.packs = f.packs[n:]
		time.Sleep(pause)
	}
	f.l.publish(f.again)
}

// TestTwoProcessesKilledAtAnyTimeLoseNothingAndSendNothingTwice is the goal of the issue in
// one test: two processes side by side, faults at NMVS, kill -9 of either at random.
func TestTwoProcessesKilledAtAnyTimeLoseNothingAndSendNothingTwice(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	type row struct {
		mode  string
		packs int
		kills int
		seed  uint64
	}
	rows := []row{{"single", 400, 5, 1}, {"auto", 400, 5, 2}, {"mixed", 120, 3, 3}}
	inTurns(t, 3, rows, func(r row) string { return r.mode }, func(t *testing.T, r row) {
		l := newLine(t, out, lineConfig{mode: r.mode, sim: lightFaults()})
		rng := rand.New(rand.NewPCG(r.seed, 0))
		two := []*decomRun{l.start(), l.start()}
		packs := l.packs(r.packs)
		var killer sync.WaitGroup
		killer.Go(func() {
			for range r.kills {
				time.Sleep(time.Duration(400+rng.IntN(900)) * time.Millisecond)
				i := rng.IntN(2)
				two[i].kill()
				two[i] = l.restart(two[i])
			}
		})
		f := flow{l: l, packs: packs}
		f.pour(rand.New(rand.NewPCG(r.seed, 1)), 150*time.Millisecond)
		killer.Wait()
		for _, d := range two {
			d.serving() // it has set the consumers back to a minute
		}
		l.redeliverSoon()
		l.settled(75 * time.Second)
		l.judge()
		done := 0
		got, err := l.outcomes()
		if err != nil {
			t.Fatal(err)
		}
		for _, outs := range got {
			if outs[0].Result == scan.Done {
				done++
			}
		}
		if done < r.packs*9/10 {
			t.Errorf("only %d of %d packs were carried out: too many wait for a person", done, r.packs)
		}
	})
}

// restart starts a process in the place of a dead one. Unlike start it may be called
// beside the test's goroutine: it ends nothing and waits for nothing.
func (l *line) restart(dead *decomRun) *decomRun {
	r, err := l.launchAs(dead.cmd.Path, dead.env...)
	if err != nil {
		l.t.Error(err)
		return dead
	}
	return r
}

// TestFlushedRedisSendsNoPackTwice: FLUSHALL in the middle of the work, twice. The projection
// comes back from the ledger, and republished old scans are still known.
func TestFlushedRedisSendsNoPackTwice(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	l := newLine(t, out, lineConfig{mode: "auto", sim: lightFaults()})
	l.start()
	l.start()
	scans := l.supply(l.packs(100))
	l.atLeast(20, 30*time.Second)
	out.redis.Do("FLUSHALL")
	more := l.supply(l.packs(100))
	l.atLeast(120, 40*time.Second)
	out.redis.Do("FLUSHALL")
	l.settled(60 * time.Second)
	changes := l.calls("G120", "G125", "G195")
	out.redis.Do("FLUSHALL")
	l.publish(append(scans, more...)) // the window of the stream is long over
	l.supply(l.packs(10))
	l.judge()
	if n := l.calls("G120", "G125", "G195") - changes; n > 10+4 {
		t.Errorf("%d change calls for 10 new packs after everything was scanned again", n)
	}
}

// TestKilledServersCostNothingButTime: nats-server and redis-server are killed and come
// back while scans wait, are sent and answered.
func TestKilledServersCostNothingButTime(t *testing.T) {
	t.Parallel()
	set := lightFaults()
	set.Latency.Jitter = sim.Duration(200 * time.Millisecond)
	out := startOutside(t, packstatetest.RedisOptions{AOF: true})
	l := newLine(t, out, lineConfig{sim: set})
	two := []*decomRun{l.start(), l.start()}
	l.supply(l.packs(60))
	l.atLeast(15, 30*time.Second)
	out.redis.Kill()
	for _, r := range two {
		notReady(r, "Redis")
	}
	out.redis.Start()
	l.atLeast(40, 40*time.Second)
	out.nats.Kill()
	for _, r := range two {
		notReady(r, "NATS is down")
	}
	time.Sleep(300 * time.Millisecond)
	out.nats.Start()
	l.supply(l.packs(40))
	l.settled(60 * time.Second)
	l.judge()
	if !strings.Contains(two[0].log()+two[1].log(), "waiting for a dependency") { // the idle one has nothing to wait for
		t.Error("no log says what the work waits for")
	}
	for _, r := range two {
		ready(r)
		for _, word := range []string{"NATS connection is down", "NATS connection is up"} {
			if !strings.Contains(r.log(), word) {
				t.Errorf("the log of %s does not say %q", r.name, word)
			}
		}
	}
}

func notReady(r *decomRun, why string) {
	r.t.Helper()
	eventually(r.t, 15*time.Second, r.name+" says that it is not ready", func() error {
		code, body, err := r.get("/readyz", 3*time.Second)
		if err == nil && (code != http.StatusServiceUnavailable || !strings.Contains(string(body), why)) {
			err = fmt.Errorf("%d %s", code, body)
		}
		return err
	})
}

func ready(r *decomRun) {
	r.t.Helper()
	eventually(r.t, 15*time.Second, r.name+" is ready", func() error {
		code, body, err := r.get("/readyz", 3*time.Second)
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("%d %s", code, body)
		}
		return err
	})
}

// TestAnNMVSOutageCostsTheAttemptsInFlightAndPings is promise 5 with processes: NMVS first
// answers 503, then nothing listens. Scans wait in the stream, and every witness of
// the process says so, but it stays ready.
func TestAnNMVSOutageCostsTheAttemptsInFlightAndPings(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	l := newLine(t, out, lineConfig{})
	two := []*decomRun{l.start(), l.start()}
	l.supply(l.packs(20))
	l.settled(30 * time.Second)
	before := l.calls("G120")
	if err := l.sim.Update(func(s *sim.Settings) { s.Maintenance.On = true }); err != nil {
		t.Fatal(err)
	}
	l.supply(l.packs(80), "done", "done/confirmed")
	server := two[0]
	eventually(t, 15*time.Second, "a breaker opens", func() error {
		for _, r := range two {
			s, err := r.accountStatus()
			if err != nil {
				return err
			}
			if s.Services[0].Breaker == "open" {
				server = r
				return nil
			}
		}
		return fmt.Errorf("closed")
	})
	l.nmvs.down()
	time.Sleep(5 * time.Second) // work that does not stop would show
	for _, r := range two {
		ready(r)
	}
	s, err := server.accountStatus()
	if err != nil {
		t.Fatal(err)
	}
	if s.Services[0].Cause == "" || s.Pending+s.Unacked == 0 && s.Due+s.Open == 0 {
		t.Errorf("status during the outage does not say what happens: %+v", s)
	}
	if !strings.Contains(server.log(), `"msg":"NMVS does not answer`) {
		t.Error("the log does not say that the breaker opened")
	}
	// Each process may lose what it had in flight: five failures open the breaker, and
	// with `parallel` calls at once that many more are on their way.
	const failures, parallel = 5, 8
	if n := l.calls("G120") - before; n > 2*(failures+parallel) {
		t.Errorf("the outage took %d change calls, two processes may lose %d", n, 2*(failures+parallel))
	}
	if err := l.sim.Update(func(s *sim.Settings) { s.Maintenance.On = false }); err != nil {
		t.Fatal(err)
	}
	l.nmvs.up()
	l.settled(80 * time.Second) // the breaker stays open for 30 s
	l.judge()
}

// TestASilentStandbyTakesOver: the process that serves the account is killed, the other
// one goes on although nobody restarts anything.
func TestASilentStandbyTakesOver(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	l := newLine(t, out, lineConfig{})
	two := []*decomRun{l.start(), l.start()}
	var server *decomRun
	eventually(t, 10*time.Second, "one serves and the other stands by", func() error {
		ranks := map[int]bool{}
		for _, r := range two {
			s, err := r.accountStatus()
			if err != nil {
				return err
			}
			ranks[s.Rank] = true
			if s.Rank == 0 {
				server = r
			}
		}
		if !ranks[0] || !ranks[1] {
			return fmt.Errorf("ranks %v", ranks)
		}
		return nil
	})
	l.supply(l.packs(10))
	l.settled(20 * time.Second)
	server.kill()
	l.supply(l.packs(30))
	l.settled(30 * time.Second)
	l.judge()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if p, err := l.conn.Scans(l.account).Pending(ctx); err != nil || p.Pending+p.AckPending > 0 {
		t.Errorf("the stream still holds %d scans, %d of them delivered (%v)", p.Pending+p.AckPending, p.AckPending, err)
	}
}
