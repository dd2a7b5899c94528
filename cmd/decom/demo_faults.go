package main

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"decom/nmvs/sim"
)

// faultLevel is the value of --faults.
type faultLevel string

// The levels.
const (
	faultsNone  faultLevel = "none"
	faultsLight faultLevel = "light"
	faultsHeavy faultLevel = "heavy"
)

// faultPlan is what goes wrong. Faults are tied to packs, not to dice: whatever the
// order of calls, the same seed disturbs the same packs.
type faultPlan struct {
	rules []sim.Rule
	lost  map[sim.Key]bool // packs whose first call loses its answer, or its request
	stuck map[sim.Key]bool // packs that lose two requests: a person must look
	kills int
	// outage is how long NMVS is away for maintenance, 0 = never.
	outage time.Duration
}

// changeCodes are the operations that decommission one pack.
func changeCodes() []string {
	return []string{"G120", "G122", "G130", "G140", "G150", "G160", "G170", "G180"}
}

// demoFaults come in pairs: without effect, and with the effect but without the answer.
// A client cannot tell them apart.
func demoFaults() []sim.Fault {
	return []sim.Fault{
		{Kind: sim.Reset, When: sim.Before}, {Kind: sim.Reset, When: sim.After},
		{Kind: sim.Hang, When: sim.Before}, {Kind: sim.Hang, When: sim.After},
		{Kind: sim.HTTP, When: sim.Before, Status: http.StatusServiceUnavailable},
		{Kind: sim.HTTP, When: sim.After, Status: http.StatusInternalServerError},
		{Kind: sim.Code, When: sim.Before, Code: "NMVS_TI_TO_01"}, {Kind: sim.Code, When: sim.After, Code: "NMVS_TI_TO_01"},
		{Kind: sim.SOAPFault, When: sim.Before}, {Kind: sim.SOAPFault, When: sim.After},
		{Kind: sim.Cut, When: sim.After}, {Kind: sim.Garbled, When: sim.After},
		{Kind: sim.WrongEcho, When: sim.After}, {Kind: sim.WrongPack, When: sim.After},
		{Kind: sim.Reset, When: sim.Late, Delay: sim.Duration(time.Second)}, // a copy that was held up on the way
	}
}

// planFaults chooses the packs that are disturbed among the plain ones.
func planFaults(sc *scenario, seed uint64, level faultLevel) faultPlan {
	plan := faultPlan{lost: map[sim.Key]bool{}, stuck: map[sim.Key]bool{}}
	permille, stuck := 20, 1
	switch level {
	case faultsLight:
		plan.kills = 1
	case faultsHeavy:
		permille, stuck, plan.kills, plan.outage = 80, 5, 3, 4*time.Second
	default:
		return plan
	}
	rng := rand.New(rand.NewPCG(seed, 0x6661756c74))
	keys := slices.Clone(sc.plain)
	rng.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	n := max(len(sc.plain)*permille/1000, min(len(demoFaults()), len(keys)/4))
	stuck, tooFast := min(stuck, len(keys)/20), min(2, len(keys)/20)
	if n+stuck+tooFast > len(keys) {
		n = len(keys) - stuck - tooFast
	}
	take := func(count int, fault sim.Fault) sim.Key {
		k := keys[0]
		keys = keys[1:]
		plan.rules = append(plan.rules, sim.Rule{Ops: changeCodes(), Product: k.Code, Serial: k.Serial, Count: count, Fault: fault})
		return k
	}
	for i := range n {
		plan.lost[take(1, demoFaults()[i%len(demoFaults())])] = true
	}
	for range stuck {
		plan.stuck[take(2, sim.Fault{Kind: sim.Reset, When: sim.Before})] = true
	}
	for range tooFast { // refused as a whole, so no doubt comes of it: the worker waits and slows down
		take(1, sim.Fault{Kind: sim.HTTP, When: sim.Before, Status: http.StatusTooManyRequests, Code: "NMVS_FI_SE_CLI_01", RetryAfter: sim.Duration(time.Second)})
	}
	return plan
}

// expect writes into the scenario what the plan's faults lead to, and lets the packs
// that are to wait for a person come early, because two holds take their time.
func (p *faultPlan) expect(sc *scenario) {
	var early, rest []demoScan
	for _, s := range sc.scans {
		switch {
		case p.stuck[s.key]:
			s.want = []string{"unresolved/doubtful_twice"}
			early = append(early, s)
		default:
			rest = append(rest, s)
		}
	}
	sc.scans = slices.Concat(rest[:sc.opening], early, rest[sc.opening:])
}
