package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"decom/nmvs"
	"decom/queue"
	"decom/queue/queuetest"
	"decom/ratelimit"
	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

const (
	acc     = "a"
	site    = "s"
	gtin    = "03400930000007"
	testLot = "LOT42"

	missingLot = "LOT-M"

	testExp = "281100"
)

// world is one account on fakes at the three edges: broker, projection, registry.
// Everything else is real: Account, Publisher, Limiter, Breaker.
type world struct {
	t      *testing.T
	broker *queuetest.Broker
	store  *packstatetest.Memory
	reg    *registry
	dev    *queuetest.Conn // the devices' connection
	cfg    Config
	rate   ratelimit.Rate
	limits map[string]ratelimit.Rate // by service; nil: rate for each
	pieces int                       // packs that a synchronisation projects at once; 0: as many as in production
	tempo  int                       // every wait of the world is that many times shorter; 0: none is

	resumes int  // halts that a person ended
	tracing bool // note what happens
	tracer  Tracer
	began   time.Time

	step  atomic.Pointer[func(p *process, step string)] // called at every step of every process
	fault atomic.Pointer[func(p *process, call string) packstatetest.Fault]

	flying sync.WaitGroup // late copies of requests

	mu     sync.Mutex
	procs  []*process  // guarded by mu
	events []event     // guarded by mu
	cache  folded      // guarded by mu
	closed bool        // guarded by mu
	trace  []traceLine // guarded by mu
	last   time.Time   // the newest device time given; guarded by mu

	outs     map[string][]scan.Outcome // by event id; guarded by mu
	outsRead int                       // how many outcomes are in outs; guarded by mu
}

// event is a scan that a device published.
type event struct {
	id, device, serial string
	op                 scan.Op
	at                 time.Time
	seq                uint64
}

// process is one worker process, from start to death.
type process struct {
	w      *world
	name   string
	rank   int
	conn   *queuetest.Conn
	dead   atomic.Bool
	ranked atomic.Int64 // how often it asked for its rank
	cancel context.CancelFunc
	acc    *Account
	brk    *nmvs.Breaker
	done   chan struct{}
	err    error // of Run, after done
}

// line runs test in a bubble over a new world.
func line(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, began: time.Now(), outs: map[string][]scan.Outcome{}, store: packstatetest.NewMemory(), rate: ratelimit.Rate{N: 50, Per: time.Second}}
		w.broker = queuetest.NewBroker(t, queue.Account{Name: acc, Sites: []string{site}})
		w.broker.Takes = 2 * time.Millisecond
		w.broker.OnAck = w.holdKept
		w.reg = newRegistry(t, w)
		w.dev = w.broker.Conn()
		// A short hold keeps the tests short; the registry's idle time and late copies stay below (A3).
		w.cfg = Config{Account: acc, THoldSingle: 3 * time.Minute}
		defer w.close() // also after a Fatal, or the bubble's panic hides what it said
		test(w)
	})
}

// start starts a process. It is started again, as systemd would, when it ends by itself.
func (w *world) start(name string, rank int) *process {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{w: w, name: name, rank: rank, conn: w.broker.Conn(), cancel: cancel, done: make(chan struct{})}
	limits := w.limits
	if limits == nil {
		limits = map[string]ratelimit.Rate{"single": w.rate, "bulk": w.rate}
	}
	lim, err := ratelimit.New(ratelimit.Config{Limits: limits, Cooldown: w.span(ratelimit.DefaultCooldown), Climb: w.span(ratelimit.DefaultClimb)})
	if err != nil {
		w.t.Fatal(err)
	}
	if p.brk, err = nmvs.NewBreaker(door{w.reg, p}, nmvs.BreakerConfig{OpenFor: w.span(30 * time.Second),
		Services: []nmvs.Service{nmvs.Single, nmvs.Bulk, nmvs.Mixed}}); err != nil {
		w.t.Fatal(err)
	}
	cfg := w.cfg
	cfg.Worker = name
	p.acc, err = New(cfg, Deps{
		Scans: p.conn.Scans(acc), Records: p.conn.Ledger(acc), State: edge{w.store, p}, NMVS: gate{p.brk}, Limiter: lim,
		Rank: func() int { p.ranked.Add(1); return rank },
		Hooks: Hooks{Trace: w.tracer, Step: func(step string) {
			if f := w.step.Load(); f != nil && !p.dead.Load() {
				(*f)(p, step)
			}
		}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	p.acc.piecePacks = w.pieces
	pub := &Publisher{Account: acc, Sites: []string{site}, Outbox: p.conn.Outbox(acc), Outcomes: p.conn, Records: p.conn.Ledger(acc),
		Recent: p.acc.Recent, After: p.acc.RecentAfter, Broken: p.acc.ChainBroken, Traces: p.acc.Traces()}
	w.mu.Lock()
	w.procs = append(w.procs, p)
	w.mu.Unlock()
	go func() {
		defer close(p.done)
		var wg sync.WaitGroup
		wg.Go(func() { p.brk.Run(ctx) })
		wg.Go(func() { _ = pub.Run(ctx) })
		p.err = p.acc.Run(ctx)
		ended := ctx.Err() == nil && !p.dead.Load()
		p.kill()
		wg.Wait()
		w.mu.Lock()
		again := ended && !w.closed
		w.mu.Unlock()
		if again {
			time.Sleep(time.Second)
			w.start(name+"'", rank)
		}
	}()
	return p
}

// kill is SIGKILL: nothing that the process does from now on has any effect.
func (p *process) kill() {
	p.dead.Store(true)
	p.conn.Close()
	p.cancel()
}

// drain is SIGTERM; it returns when the process has ended.
func (p *process) drain() {
	p.cancel()
	<-p.done
}

func (w *world) close() {
	w.mu.Lock()
	w.closed = true
	procs := w.procs
	w.mu.Unlock()
	for _, p := range procs {
		p.kill()
	}
	for i := 0; i < len(procs); i++ { // one that was about to start again has done so by now
		procs[i].kill()
		<-procs[i].done
		w.mu.Lock()
		procs = w.procs
		w.mu.Unlock()
	}
	w.flying.Wait()
}

// gate is the breaker with the registry's digest.
type gate struct{ *nmvs.Breaker }

func (gate) Digest(call nmvs.Call) string { return digestOf(call) }

var errDead = errors.New("process ended")

// edge is the projection as one process reaches it: a server's, so that no head is on disk.
type edge struct {
	*packstatetest.Memory
	p *process
}

func (e edge) fails(call string) (before, after error) {
	if e.p.dead.Load() {
		return errDead, nil
	}
	if f := e.p.w.fault.Load(); f != nil {
		switch (*f)(e.p, call) {
		case packstatetest.Before:
			return packstatetest.ErrFault, nil
		case packstatetest.AfterLost:
			return nil, packstatetest.ErrFault
		}
	}
	return nil, nil
}

func (e edge) View(ctx context.Context, a string, at ledger.Head, ks []scan.PackID) (packstate.Status, ledger.States, error) {
	before, after := e.fails("view")
	if before != nil {
		return 0, nil, before
	}
	st, states, err := e.Memory.View(ctx, a, at, ks)
	if after != nil {
		return 0, nil, after
	}
	return st, states, err
}

func (e edge) Apply(ctx context.Context, a string, prev, next ledger.Head, states ledger.States, idx ledger.Index) (packstate.Status, error) {
	before, after := e.fails("apply")
	if before != nil {
		return 0, before
	}
	st, err := e.Memory.Apply(ctx, a, prev, next, states, idx)
	if after != nil {
		return 0, after
	}
	return st, err
}

func (e edge) Begin(ctx context.Context, a string) (packstate.Status, error) {
	if before, _ := e.fails("begin"); before != nil {
		return 0, before
	}
	return e.Memory.Begin(ctx, a)
}

func (e edge) Halt(ctx context.Context, a, why string) error {
	if before, _ := e.fails("halt"); before != nil {
		return before
	}
	return e.Memory.Halt(ctx, a, why)
}

func (e edge) Unhalt(ctx context.Context, a, why string) (string, error) {
	if before, _ := e.fails("unhalt"); before != nil {
		return "", before
	}
	return e.Memory.Unhalt(ctx, a, why)
}

func (e edge) SaveHead(string, ledger.Head) error         { return nil }
func (e edge) LoadHead(string) (ledger.Head, bool, error) { return ledger.Head{}, false, nil }

// lotOf is the batch of a pack: M1, M2, ... are of a batch of their own, which nobody may have
// uploaded (registry.missing).
func lotOf(serial string) string {
	if strings.HasPrefix(serial, "M") {
		return missingLot
	}
	return testLot
}

func (w *world) packOf(serial string) scan.Pack {
	p, err := scan.NewPack(scan.GTIN, gtin, serial, lotOf(serial), testExp)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// scan publishes a new scan event of a device with its clock. Device times never tie.
func (w *world) scan(device, serial string, op scan.Op) event {
	w.t.Helper()
	e, n := w.scanned(device, serial, op)
	seq := w.publish(e)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events[n].seq = seq
	return w.events[n]
}

// scanned is scan before it is published: a robot without network.
func (w *world) scanned(device, serial string, op scan.Op) (event, int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := time.Now()
	if !at.After(w.last) {
		at = w.last.Add(time.Millisecond)
	}
	w.last = at
	e := event{id: fmt.Sprintf("e%d", len(w.events)), device: device, serial: serial, op: op, at: at}
	w.events = append(w.events, e)
	return e, len(w.events) - 1
}

// publish publishes an event, again or for the first time.
func (w *world) publish(e event) uint64 {
	w.t.Helper()
	return w.publishTraced(e, "")
}

// publishTraced is publish with a traceparent.
func (w *world) publishTraced(e event, trace string) uint64 {
	w.t.Helper()
	body, err := json.Marshal(map[string]any{"id": e.id, "op": e.op.String(), "at": e.at.Format(time.RFC3339Nano),
		"pack": scan.Fields{Scheme: "GTIN", Code: gtin, Serial: e.serial, Batch: lotOf(e.serial), Expiry: testExp}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.note("%s publishes %s, %v of %s, scanned at %v", e.device, e.id, e.op, e.serial, e.at.Sub(w.began))
	acks, err := w.dev.PublishScans(context.Background(), []queue.Scan{{Site: site, Device: e.device, ID: e.id, Body: body, Trace: trace}})
	if err != nil {
		w.t.Fatal(err)
	}
	return acks[0].Seq
}

// publishRaw publishes a body as it is.
func (w *world) publishRaw(device, id, body string) uint64 {
	w.t.Helper()
	ack, err := w.dev.PublishScan(context.Background(), site, device, id, []byte(body))
	if err != nil {
		w.t.Fatal(err)
	}
	return ack.Seq
}

// onStep has f called at every step; it may end or stop the process.
func (w *world) onStep(f func(p *process, step string)) { w.step.Store(&f) }

// onCall has f decide the fate of every call to the projection.
func (w *world) onCall(f func(p *process, call string) packstatetest.Fault) { w.fault.Store(&f) }

// nth says yes the n-th time it is asked.
type nth struct{ left atomic.Int64 }

func newNth(n int) *nth { c := &nth{}; c.left.Store(int64(n)); return c }

func (c *nth) now() bool { return c.left.Add(-1) == 0 }

// came says whether the n-th time has come.
func (c *nth) came() bool { return c.left.Load() <= 0 }

// span is d at the world's tempo.
func (w *world) span(d time.Duration) time.Duration { return d / time.Duration(max(w.tempo, 1)) }

// during lets time pass.
func (w *world) during(d time.Duration) { time.Sleep(d); synctest.Wait() }
