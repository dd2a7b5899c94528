package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"decom/nmvs"
	"decom/nmvs/sim"
	"decom/worker/scan"
)

// results is the order of contract.md section 5.
func demoResults() []scan.Result {
	return []scan.Result{scan.Done, scan.Duplicate, scan.Refused, scan.Alert, scan.Rejected, scan.Unresolved}
}

// summary is what a run ends with.
type summary struct {
	scans, packs  int
	took          time.Duration // first scan to last outcome
	p50, p99      time.Duration // publish to outcome
	outcomes      map[string]*scan.Outcome
	counts        sim.Counts
	starts, kills int
	verdict       *verdict
}

// print shows the tables and the verdict, in the user's language.
func (s *summary) print(a *app) {
	fmt.Fprintln(a.stdout)
	s.printOutcomes(a)
	fmt.Fprintln(a.stdout)
	s.printCalls(a)
	fmt.Fprintln(a.stdout)
	s.printVerdict(a)
}

// printOutcomes counts by result and reason; short explanations come from the closed set.
func (s *summary) printOutcomes(a *app) {
	count := map[scan.Result]map[scan.Reason]int{}
	for _, o := range s.outcomes {
		if count[o.Result] == nil {
			count[o.Result] = map[scan.Reason]int{}
		}
		count[o.Result][o.Reason]++
	}
	a.sayf("%-11s %-18s %6s", "%-11s %-18s %6s", a.lang.of(scan.Text{FR: "Résultat", EN: "Result"}), a.lang.of(scan.Text{FR: "raison", EN: "reason"}), a.lang.of(scan.Text{FR: "scans", EN: "scans"}))
	for _, result := range demoResults() {
		reasons := slices.SortedFunc(maps.Keys(count[result]), func(x, y scan.Reason) int {
			if d := count[result][y] - count[result][x]; d != 0 {
				return d
			}
			return strings.Compare(string(x), string(y))
		})
		name := string(result)
		for _, r := range reasons {
			fmt.Fprintf(a.stdout, "%-11s %-18s %6d\n", name, r, count[result][r])
			name = ""
		}
	}
}

func (s *summary) printCalls(a *app) {
	c := &s.counts
	perSecond := float64(s.packs) / max(s.took.Seconds(), 0.001)
	a.sayf("%d boîtes, %d scans en %.1f s : %.0f boîtes/s ; du scan au résultat : médiane %s, 99 %% en %s.",
		"%d packs, %d scans in %.1f s: %.0f packs/s; from scan to outcome: median %s, 99%% within %s.",
		s.packs, s.scans, s.took.Seconds(), perSecond, short(s.p50), short(s.p99))
	a.sayf("Appels au NMVS : %s.", "Calls to NMVS: %s.", s.calls(a.lang))
	alerts := 0
	for _, n := range c.Alerts {
		alerts += n
	}
	a.sayf("Alertes levées par le NMVS : %d (%s), pour des boîtes fausses ou inconnues.", "Alerts raised by NMVS: %d (%s), for packs that are wrong or unknown.", alerts, counted(c.Alerts))
	faults := 0
	for _, n := range c.Faults {
		faults += n
	}
	a.sayf("Pannes jouées : %d appels sans réponse utilisable (%s) ; %d appels refusés pour maintenance.",
		"Faults played: %d calls without a usable answer (%s); %d calls refused by maintenance.", faults, counted(c.Faults), c.Maintained)
	a.sayf("Processus de travail : démarré %d fois, tué %d fois par SIGKILL.", "Worker process: started %d times, killed %d times by SIGKILL.", s.starts, s.kills)
}

// calls lists operations by how often they arrived.
func (s *summary) calls(lang language) string {
	total, named := 0, map[string]int{}
	for code, n := range s.counts.Calls {
		total += n
		named[operationName(code)] += n
	}
	word := lang.of(scan.Text{FR: "en tout", EN: "in all"})
	return fmt.Sprintf("%d %s (%s)", total, word, counted(named))
}

// operationName is the interface's name of an operation, which starts with its code.
func operationName(code string) string {
	if o, ok := nmvs.Lookup(code); ok {
		return o.Name
	}
	return code
}

// counted lists counts, the largest first.
func counted(m map[string]int) string {
	keys := slices.SortedFunc(maps.Keys(m), func(x, y string) int {
		if d := m[y] - m[x]; d != 0 {
			return d
		}
		return strings.Compare(x, y)
	})
	parts := make([]string, len(keys))
	for i, k := range keys {
		parts[i] = fmt.Sprintf("%d %s", m[k], k)
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ", ")
}

func short(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

// shown is how many lines of one sort of trouble are printed.
const shown = 10

func (s *summary) printVerdict(a *app) {
	v := s.verdict
	a.sayf("Le juge compare les résultats avec le registre du NMVS simulé :", "The judge compares the outcomes with the simulated NMVS's own ledger:")
	for _, l := range []struct {
		text scan.Text
		list []string
	}{
		{scan.Text{FR: "scans perdus (sans résultat)", EN: "scans lost (no outcome)"}, v.lost},
		{scan.Text{FR: "résultats en trop", EN: "outcomes too many"}, v.extra},
		{scan.Text{FR: "boîtes envoyées deux fois", EN: "packs sent twice"}, v.twice},
		{scan.Text{FR: "alertes pour des boîtes en règle", EN: "alerts for packs that are in order"}, v.cleanAlerts},
		{scan.Text{FR: "résultats contredits par le NMVS", EN: "outcomes that NMVS contradicts"}, v.wrong},
		{scan.Text{FR: "résultats autres qu'attendus", EN: "outcomes other than expected"}, v.different},
	} {
		fmt.Fprintf(a.stdout, "  %5d  %s\n", len(l.list), a.lang.of(l.text))
		for i, line := range l.list {
			if i == shown {
				fmt.Fprintf(a.stdout, "           ... %d\n", len(l.list)-shown)
				break
			}
			fmt.Fprintf(a.stdout, "           %s\n", line)
		}
	}
}
