package chaos

import (
	"fmt"
	"strings"

	"decom/nmvs/sim"
	"decom/worker/scan"
)

// Packs that are not in order: somebody else made them inactive before, or batch or expiry on
// the box are not those that NMVS has, as on a falsified one. Each is told once as an alert
// and waits for a person; NMVS raises at most one alert for it, none of them by a repeat.
// There are at most two of the first kind in an account: three halt it (protocol.md section 9).

func packOf(p plan, account, n int) (scan.Pack, error) {
	return scan.NewPack(scan.GTIN, gtin, fmt.Sprintf("S%dA%dN%05d", p.Seed%1e6, account, n), fmt.Sprintf("LOT%d", n%3), "341100")
}

// strangers puts the plan's strange packs into NMVS's store.
func (l *load) strangers() error {
	p := l.r.plan
	l.strange = map[sim.Key]bool{}
	var stock []sim.Stock
	for i := range p.Accounts {
		for j := range p.Strange {
			pack, err := packOf(p, i, (2*j+1)*p.Packs/(2*p.Strange)) // spread over the run
			if err != nil {
				return err
			}
			s := sim.Stock{Code: pack.Code(), Serial: pack.Serial(), Batch: pack.Batch(), Expiry: pack.Expiry()}
			switch j {
			case 0:
				s.Reasons = []string{"DESTROYED"}
			case 1:
				s.Batch = "FALSE"
			case 2:
				s.Reasons = []string{"EXPORTED"}
				if p.Settle == "e2" { // by e4 an operator takes a stranger's change for ours
					s.Reasons = []string{"SUPPLIED"}
				}
			default:
				s.Batch, s.Expiry = "OTHER", "351200"
			}
			stock = append(stock, s)
			l.strange[keyOf(pack)] = true
		}
	}
	if len(stock) == 0 {
		return nil
	}
	return l.r.sim.do("POST", "/stock", stock)
}

// judgeStrange holds what was told of strange packs.
func (r *rig) judgeStrange(all []sent, got map[string][]scan.Outcome, entries []sim.Entry) {
	strange, alerts, unresolved := map[sim.Key]bool{}, map[sim.Key]int{}, map[sim.Key]int{}
	words := map[sim.Key][]string{}
	for _, s := range all {
		if !s.strange {
			continue
		}
		k := keyOf(s.pack)
		strange[k] = true
		for _, o := range got[s.id] {
			words[k] = append(words[k], wordOf(o))
			switch o.Result {
			case scan.Alert:
				alerts[k]++
			case scan.Unresolved:
				unresolved[k]++
			case scan.Refused:
				if r.plan.losesLedger() && o.Reason == scan.ParkedPack { // its alert may be lost with its record
					unresolved[k]++
				}
			case scan.Done:
				r.fault("OUT: strange pack %s: %s", k, wordOf(o))
			}
		}
	}
	called := map[sim.Key]bool{} // else its supply was older than its undo: refused, and nobody asked NMVS
	for i := range entries {
		called[entries[i].Key] = true
	}
	for k := range strange {
		if n := alerts[k]; n > 1 && !r.plan.losesLedger() || n+unresolved[k] == 0 && called[k] {
			r.fault("OUT: strange pack %s: told %s, want one alert, or that it is unresolved", k, strings.Join(words[k], ", "))
		}
	}
	raised := map[sim.Key]int{}
	for i := range entries {
		e := &entries[i]
		if e.Alert == "" {
			continue
		}
		if raised[e.Key]++; !strange[e.Key] {
			r.fault("BRAKE: alert %s by call %s for pack %s, which is in order (by a repeat: %v)", e.Alert, e.C, e.Key, e.Twice)
		} else if raised[e.Key] > 1 {
			r.fault("BRAKE: %d alerts for strange pack %s", raised[e.Key], e.Key)
		}
	}
}
