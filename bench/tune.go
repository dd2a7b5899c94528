package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"decom/worker/scan"
)

// Remote is what is known of NMVS, measured or stated, and what is wanted.
type Remote struct {
	Latency   time.Duration // of one call
	Quota     float64       // single calls a second; 0: single calls are not used
	BulkQuota float64       // submits a minute; 0: no bulks
	BulkTime  time.Duration // from a submit to its result; default 2 s, the first poll
	Target    float64       // packs a second wanted
	Headroom  float64       // part of the quota that the worker is told; default 0.97
}

// Costs are what the line itself takes on this machine, measured in a few seconds.
type Costs struct {
	SingleCPU, BulkCPU   float64 // worker CPU seconds a pack
	SingleRate, BulkRate float64 // packs a second of the whole line when NMVS takes no time
	Call                 time.Duration
	// Call is a single call's own time, 16 at once.
	Measured bool
}

// knownCosts are bench/README.md's figures, for who does not want to measure.
var knownCosts = Costs{SingleCPU: 36.0 / 100_000, BulkCPU: 5.5 / 100_000, SingleRate: 1500, BulkRate: 12_000, Call: 10 * time.Millisecond} // never changed

// Costs measures two small backlogs on this machine.
func (c Config) Costs(ctx context.Context) (Costs, error) {
	k := Costs{Measured: true}
	for _, mode := range []string{"single", "mixed"} {
		one := c
		one.Profile, one.Mode, one.Packs = Backlog, mode, map[string]int{"single": 1000, "mixed": 8000}[mode]
		one.Parallel = map[string]int{"single": 16, "mixed": 4}[mode]
		one = one.WithDefaults()
		c.tell(Event{What: "round", Name: mode})
		d, _, err := one.run(ctx, "costs-"+mode, 1)
		if err != nil {
			return k, err
		}
		if !d.Verdict.Good() {
			return k, fmt.Errorf("the measurement of mode %s went wrong: %+v", mode, d.Verdict)
		}
		cpu := d.CPU["worker"] / 100_000
		if mode == "single" {
			k.SingleCPU, k.SingleRate = cpu, d.Rate
			k.Call = time.Duration(16 / d.Rate * float64(time.Second))
		} else {
			k.BulkCPU, k.BulkRate = cpu, d.Rate
		}
	}
	return k, nil
}

// KnownCosts are figures of an earlier machine, for who does not want to measure.
func KnownCosts() Costs { return knownCosts }

// Tuning is a proposal.
type Tuning struct {
	Mode      string
	Limits    Limits
	Processes int
	Rate      float64     // packs a second to expect
	Limit     string      // what limits: target, quota, cpu
	Why       []scan.Text // one sentence a setting
}

// Headrooms are the parts of the quota to try, best first. The rate that the worker is told stays
// below the quota: NMVS's window may begin anywhere, and calls do not arrive as evenly as
// they leave; one "too fast" costs the account a minute.
func Headrooms() []float64 { return []float64{0.97, 0.9, 0.8} }

// utilisation is how busy a worker's core may be.
const utilisation = 0.7

// Validate reports every problem.
func (r Remote) Validate() error {
	var errs []error
	bad := func(ok bool, why string) {
		if !ok {
			errs = append(errs, errors.New(why))
		}
	}
	bad(r.Latency >= 0 && r.BulkTime >= 0, "times must not be negative")
	bad(r.Quota > 0 || r.BulkQuota > 0, "give NMVS's quota: calls a second, bulks a minute, or both")
	bad(r.Quota >= 0 && r.BulkQuota >= 0, "quotas must not be negative")
	bad(r.Target > 0, "the target must be more than 0 packs a second")
	return errors.Join(errs...)
}

// Tune proposes settings by a model, each with its reason; verify it with [Config.Verify].
func (r Remote) Tune(k Costs) (Tuning, error) {
	if err := r.Validate(); err != nil {
		return Tuning{}, err
	}
	set(&r.BulkTime, 2*time.Second)
	set(&r.Headroom, Headrooms()[0])
	t := Tuning{Limits: Limits{Single: 1, Bulk: 1, Parallel: 1, Batch: 1, Bulks: 1, Linger: 5 * time.Millisecond}}
	why := func(fr, en string, args ...any) { t.Why = append(t.Why, Both(fr, en, args...)) }
	single := min(r.Target, r.Quota*r.Headroom)
	rest := max(0, r.Target-single)
	bulks := 0.0 // a second
	switch {
	case r.BulkQuota == 0:
		t.Mode = "single"
		why("mode single : aucun quota de lots n'est donné", "mode single: no quota of bulks is given")
	case rest == 0:
		t.Mode = "single"
		why("mode single : les appels unitaires suffisent à l'objectif, et répondent le plus vite", "mode single: single calls reach the target, and answer fastest")
	default:
		t.Mode = "auto"
		if r.Quota == 0 {
			t.Mode = "mixed"
		}
		bulks = t.bulks(r, rest, why)
	}
	if r.Quota > 0 {
		t.Limits.Single = math.Floor(r.Quota*r.Headroom*100) / 100
		why("limits.single %s/s : le quota moins %.0f %%, car la fenêtre du NMVS commence n'importe où", "limits.single %s/s: the quota less %.0f %%, because NMVS's window begins anywhere", number(t.Limits.Single), 100-100*r.Headroom)
	}
	calls := single*(r.Latency+k.Call).Seconds() + 2*bulks*r.Latency.Seconds()
	t.Limits.Parallel = max(1, int(math.Ceil(1.25*calls)))
	why("limits.parallel %d : débit x temps d'un appel (%v + %v), plus un quart", "limits.parallel %d: rate x time of a call (%v + %v), plus a quarter", t.Limits.Parallel, r.Latency, k.Call.Round(time.Millisecond))
	t.rate(r, k, single, bulks, why)
	return t, nil
}

// bulks settles batch, number and limit of bulks for the packs that single calls leave.
func (t *Tuning) bulks(r Remote, rest float64, why func(fr, en string, args ...any)) float64 {
	most := r.BulkQuota / 60 * r.Headroom
	for _, n := range []int{50, 100, 200, 500, 1000} {
		if t.Limits.Batch = n; most*float64(n) >= rest {
			break
		}
	}
	why("limits.batch %d : le plus petit lot qui suffit à %s boîtes/s avec %s lots/min (1000 au plus : un enregistrement du registre)",
		"limits.batch %d: the smallest bulk that makes %s packs/s with %s bulks/min (1000 at most: one ledger record)", t.Limits.Batch, figure(rest), figure(r.BulkQuota))
	bulks := min(most, rest/float64(t.Limits.Batch))
	t.Limits.Bulk = math.Floor(2*r.BulkQuota*r.Headroom*100) / 100
	why("limits.bulk %s/min : deux appels par lot (dépôt et résultat), si le quota du NMVS ne compte que les dépôts", "limits.bulk %s/min: two calls a bulk (submit and result), if NMVS's quota counts submits only", number(t.Limits.Bulk))
	t.Limits.Bulks = min(64, max(1, int(math.Ceil(bulks*(2*r.Latency+r.BulkTime).Seconds()))))
	why("limits.bulks %d : lots/s x durée d'un lot (%v) ; au-delà de 1, le NMVS doit l'accepter", "limits.bulks %d: bulks/s x duration of a bulk (%v); above 1 NMVS has to allow it", t.Limits.Bulks, (2*r.Latency + r.BulkTime).Round(time.Millisecond))
	t.Limits.Linger = 20 * time.Millisecond
	return bulks
}

// rate says what to expect, what limits, and how many processes that takes.
func (t *Tuning) rate(r Remote, k Costs, single, bulks float64, why func(fr, en string, args ...any)) {
	packs := bulks * float64(t.Limits.Batch)
	if t.Mode == "single" {
		packs = 0
	}
	t.Rate, t.Limit = single+packs, "quota"
	if t.Rate >= r.Target*0.999 {
		t.Rate, t.Limit = r.Target, "target"
	}
	why("limits.linger %v : assez pour grouper, peu devant la latence d'un appel", "limits.linger %v: enough to gather, little beside a call's latency", t.Limits.Linger)
	cpu := single*k.SingleCPU + packs*k.BulkCPU
	t.Processes = max(1, int(math.Ceil(cpu/utilisation)))
	why("processus %d : %s cœur(s) de calcul pour ce débit, chacun occupé à 70 %% au plus (un compte est servi par un seul à la fois)",
		"processes %d: %s core(s) of work at that rate, each busy to 70 %% at most (one account is served by one of them at a time)", t.Processes, figure(cpu))
	if line := single/k.SingleRate + packs/k.BulkRate; line > 1 {
		t.Rate, t.Limit = t.Rate/line, "cpu"
		why("la machine limite : la chaîne mesurée ne fait que %s boîtes/s", "the machine limits: the measured line makes only %s packs/s", figure(t.Rate))
	}
}

// YAML is the proposal as the part of an account to paste.
func (t *Tuning) YAML() string {
	return fmt.Sprintf("    mode: %s\n    limits: %s\n", t.Mode, t.Limits.flow())
}

// Settings are the proposal as decom run's --set, for account i.
func (t *Tuning) Settings(i int) []string {
	l, key := t.Limits, fmt.Sprintf("accounts.%d.", i)
	return []string{key + "mode=" + t.Mode, key + "limits.single=" + number(l.Single) + "/s", key + "limits.bulk=" + number(l.Bulk) + "/min",
		fmt.Sprintf("%slimits.parallel=%d", key, l.Parallel), fmt.Sprintf("%slimits.batch=%d", key, l.Batch),
		fmt.Sprintf("%slimits.bulks=%d", key, l.Bulks), fmt.Sprintf("%slimits.linger=%v", key, l.Linger)}
}

// Verify runs the proposal for a while against a simulator of that latency and quota, with
// as many scans as it should carry, x 0.95: c.Duration, 30 s by default, and as long as
// the first bulks stay small.
func (c Config) Verify(ctx context.Context, r Remote, t Tuning) (Trial, error) {
	c.Profile, c.Mode, c.Rate = Steady, t.Mode, 0.95*t.Rate
	set(&c.Duration, 30*time.Second)
	if t.Mode != "single" { // the first bulks are small: 1, 2, 4 ... packs
		q := Question{Backlog: math.MaxInt32, BulkQuota: t.Limits.Bulk / 2, Batch: t.Limits.Batch}
		c.Duration += q.rampUp()
	}
	c.Packs = max(1, int(c.Rate*c.Duration.Seconds()))
	c.Latency, c.Quota, c.BulkQuota, c.Processes = r.Latency, r.Quota, r.BulkQuota, t.Processes
	c.Poll = max(time.Millisecond, r.BulkTime)
	c.Parallel, c.Batch, c.Bulks = t.Limits.Parallel, t.Limits.Batch, t.Limits.Bulks
	c.Set = append(c.Set, t.Settings(0)...)
	c = c.WithDefaults()
	if err := c.Validate(); err != nil {
		return Trial{}, err
	}
	c.tell(Event{What: "verify"})
	d, _, err := c.run(ctx, "verify", 1)
	return Trial{Round: d, Intended: c.Rate, Late: d.rateBetween(c.Duration/2, c.Duration), For: c.Duration}, err
}

// Trial is a proposal that was run.
type Trial struct {
	Round
	Intended float64       // packs a second that arrived
	Late     float64       // packs a second done in the second half of that time: settled
	For      time.Duration // how long they arrived
}

// rateBetween is the mean of the outcomes a second in a part of the round.
func (d *Round) rateBetween(from, to time.Duration) float64 {
	total, n := 0.0, 0
	for i, v := range d.Timeline.Done {
		if at := float64(i) * float64(d.Timeline.Bucket); at >= from.Seconds() && at < to.Seconds() {
			total += v
			n++
		}
	}
	return total / float64(max(1, n))
}
