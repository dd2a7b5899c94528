package chaos

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"decom/queue"
)

// plan is one run, drawn from its seed and from nothing else.
type plan struct {
	Seed       uint64
	Combined   bool
	Cluster    bool   // three nats-servers, three replicas
	Redis      string // "", sentinel, cluster or embedded
	AOF        bool   // Redis keeps a file
	SyncAlways bool   // nats-server fsyncs each write
	Mode       string
	Settle     string
	Doubt      string // hold, or sameid: NMVS refuses a ClientTrxId that it has seen
	Strange    int    // packs of each account that are not in order: somebody else's already, or falsified
	Workers    int
	Accounts   int
	Packs      int           // of each account
	Latency    time.Duration // of NMVS, at most
	Pour       time.Duration // the scans come spread over this time
	Batches    int           // in so many publishes; default 12
	Long       bool          // minutes or hours: NMVS keeps a short call ledger, and nobody taps the appends
	Rename     string        // appended to the accounts' names, whose sites stay
	Direct     bool          // no proxies between workers and servers, and production's time to redelivery: a measurement
	Steady     bool          // production's time to redelivery all along: whoever starts does not change it, which would move the delays of held scans
	Steps      []step
}

// step is one fault: when it begins, counted from the first scan, and how long it lasts.
type step struct {
	Fault string
	At    time.Duration
	For   time.Duration
	Who   int    // worker, or server
	Rand  uint64 // whatever else is to be drawn
}

func (p plan) accounts() []queue.Account {
	list := make([]queue.Account, p.Accounts)
	for i := range list {
		list[i] = queue.Account{Name: fmt.Sprintf("acc-%d%s", i+1, p.Rename), Sites: []string{fmt.Sprintf("site-%d", i+1)}}
	}
	return list
}

func (p plan) uses(fault string) bool {
	return slices.ContainsFunc(p.Steps, func(s step) bool { return s.Fault == fault })
}

// has says whether a person who asked for a fault by name means this plan.
func (p plan) has(fault string) bool {
	return fault == "combined" && p.Combined || strings.Contains(p.String(), fault)
}

// losesLedger says whether records that were acknowledged get lost in the run: then accounts
// halt, and a person resumes them.
func (p plan) losesLedger() bool {
	return slices.ContainsFunc(p.Steps, func(s step) bool { return faultByName(s.Fault).loses == "ledger" })
}

// String is the plan in one line.
func (p plan) String() string {
	where := "1 NATS"
	if p.Cluster {
		where = "3 NATS"
	}
	redis := cmp.Or(p.Redis, "1 Redis")
	if p.AOF {
		redis += "+file"
	}
	var steps []string
	for _, s := range p.Steps {
		steps = append(steps, fmt.Sprintf("%s/%d@%s+%s", s.Fault, s.Who, s.At.Round(100*time.Millisecond), s.For.Round(100*time.Millisecond)))
	}
	strange := ""
	if p.Strange > 0 {
		strange = fmt.Sprintf(" (%d strange)", p.Strange)
	}
	return fmt.Sprintf("%s, %s, %s/%s/%s, %d workers, %d x %d packs%s: %s", where, redis, p.Mode, cmp.Or(p.Doubt, "hold"), p.Settle, p.Workers, p.Accounts, p.Packs, strange, strings.Join(steps, " "))
}

// draw makes the plan of a seed. Seeds that 3 divides combine three to six faults; the others
// take the faults one by one, each kind as often as any other.
func draw(seed uint64) plan {
	rng := rand.New(rand.NewPCG(seed, 0xc4a05))
	p := plan{
		Seed: seed, Combined: seed%3 == 0, AOF: rng.IntN(3) > 0, SyncAlways: rng.IntN(2) == 0,
		Mode: pick(rng, "single", "auto", "mixed", "bulk"), Settle: pick(rng, "e2", "e4", "e4"),
		Workers: 2 + rng.IntN(2), Accounts: 1 + rng.IntN(2), Packs: 40 + rng.IntN(80),
		Latency: time.Duration(rng.IntN(120)) * time.Millisecond, Pour: 6 * time.Second,
	}
	switch rng.IntN(6) {
	case 0:
		p.Doubt = "sameid"
	case 1, 2:
		p.Strange = 1 + rng.IntN(4)
	}
	if !p.Combined {
		kinds := faultKinds()
		k := kinds[int(seed*2/3)%len(kinds)]
		p.Cluster, p.Redis = k.cluster, k.redis
		p.embed()
		if k.aof {
			p.AOF = true
		}
		n := 1 + rng.IntN(2)
		if k.loses == "ledger" {
			n = 1
		}
		for i := range n {
			p.add(rng, k, time.Duration(500+i*3500+rng.IntN(1500))*time.Millisecond)
		}
		return p
	}
	if rng.IntN(4) == 0 {
		p.Cluster = true
	}
	switch rng.IntN(10) {
	case 0, 1, 2:
		p.Redis = "sentinel"
	case 3:
		p.Redis = "embedded"
		p.embed()
	}
	for range 3 + rng.IntN(4) {
		kinds := slices.DeleteFunc(faultKinds(), func(k faultKind) bool { return !k.fits(p) })
		p.add(rng, kinds[rng.IntN(len(kinds))], time.Duration(300+rng.IntN(5500))*time.Millisecond)
	}
	slices.SortStableFunc(p.Steps, func(a, b step) int { return cmp.Compare(a.At, b.At) })
	return p
}

// embed makes a plan with the pack state embedded fit: one process, and no Redis with a file.
func (p *plan) embed() {
	if p.Redis == "embedded" {
		p.Workers, p.AOF = 1, false
	}
}

// add puts a fault into the plan, unless another one has the same server in hand then.
func (p *plan) add(rng *rand.Rand, k faultKind, at time.Duration) {
	s := step{Fault: k.name, At: at, Who: rng.IntN(12), Rand: rng.Uint64()}
	s.For = k.least + time.Duration(rng.Int64N(int64(k.most-k.least)+1))
	for _, o := range p.Steps {
		other := faultByName(o.Fault)
		if other.on(*p, o) == k.on(*p, s) && s.At < o.At+o.For+200*time.Millisecond && o.At < s.At+s.For+200*time.Millisecond {
			return
		}
	}
	p.Steps = append(p.Steps, s)
}

func pick[T any](rng *rand.Rand, list ...T) T { return list[rng.IntN(len(list))] }
