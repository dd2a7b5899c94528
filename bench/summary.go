package bench

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"decom/worker/scan"
)

// Both makes a line with the same values in both languages.
// A figure among them is written as the language writes it.
func Both(fr, en string, args ...any) scan.Text {
	french := slices.Clone(args)
	for i, a := range french {
		if f, ok := a.(figures); ok {
			french[i] = strings.ReplaceAll(string(f), ".", ",")
		}
	}
	return scan.Text{FR: fmt.Sprintf(fr, french...), EN: fmt.Sprintf(en, args...)}
}

// figures is text that holds numbers, with a decimal point.
type figures string

// Servers tells what will be started, or used.
func (c *Config) Servers() []scan.Text {
	var list []scan.Text
	switch {
	case c.NATSURL != "":
		list = append(list, Both("  NATS : le vôtre, %s", "  NATS: yours, %s", c.NATSURL))
	case c.NATSServer != "":
		list = append(list, Both("  NATS : %s, fichiers", "  NATS: %s, file store", c.NATSServer))
	default:
		list = append(list, Both("  NATS : celui de decom, dans son propre processus, fichiers", "  NATS: decom's own, in a process of its own, file store"))
	}
	if c.NoFsync {
		list[0].FR, list[0].EN = list[0].FR+", sans fsync", list[0].EN+", no fsync"
	}
	switch {
	case c.RedisURL != "":
		list = append(list, Both("  Redis : le vôtre, %s", "  Redis: yours, %s", c.RedisURL))
	case c.RedisServer != "":
		list = append(list, Both("  Redis : %s, sans AOF", "  Redis: %s, no AOF", c.RedisServer))
	default:
		list = append(list, Both("  Redis : absent de cette machine ! Le magasin intégré du worker le remplace ; il est bien plus lent.",
			"  Redis: not on this machine! The worker's embedded store stands in; it is much slower."))
	}
	return list
}

// noteText explains a note of a result.
func noteText(note string) scan.Text {
	switch note {
	case "redis_embedded":
		return scan.Text{FR: "Sans redis-server : magasin intégré du worker.", EN: "No redis-server: the worker's embedded store."}
	case "holds_cut":
		return scan.Text{FR: "t_hold ramené à 6 s et settle: e4, pour qu'un doute se règle dans le tour. Pas pour un hôpital.",
			EN: "t_hold cut to 6 s and settle: e4, so that a doubt is settled within the round. Not for a hospital."}
	case "busy":
		return scan.Text{FR: "La machine faisait autre chose avant et pendant : les débits sont un minimum, les latences un maximum.",
			EN: "The machine was busy with other work: rates are a lower bound, latencies an upper one."}
	case "nats_yours":
		return scan.Text{FR: "NATS fourni par --config.", EN: "NATS given by --config."}
	case "redis_yours":
		return scan.Text{FR: "Redis fourni par --config.", EN: "Redis given by --config."}
	}
	return scan.Text{FR: note, EN: note}
}

// figure prints four significant digits and no exponent.
func figure(v float64) figures {
	if v >= 1000 {
		return figures(strconv.FormatFloat(v, 'f', 0, 64))
	}
	return figures(strconv.FormatFloat(v, 'g', 4, 64))
}

// spread is "median (least-most)".
func spread(list []float64) figures {
	if len(list) == 0 {
		return "-"
	}
	text := figure(median(list))
	if len(list) > 1 {
		text += " (" + figure(slices.Min(list)) + "-" + figure(slices.Max(list)) + ")"
	}
	return text
}

func (r *Result) column(of func(*Round) float64) []float64 {
	list := make([]float64, len(r.Rounds))
	for i := range r.Rounds {
		list[i] = of(&r.Rounds[i])
	}
	return list
}

// Summary is what a person wants to read first, a line each.
func (r *Result) Summary() []scan.Text {
	var list []scan.Text
	say := func(fr, en string, args ...any) { list = append(list, Both(fr, en, args...)) }
	for _, n := range r.Notes {
		t := noteText(n)
		list = append(list, scan.Text{FR: "! " + t.FR, EN: "! " + t.EN})
	}
	if len(r.Rounds) > 0 {
		say("débit : %s boîtes/s", "rate: %s packs/s", spread(rates(r.Rounds)))
		if q := r.Config.QuotaPacks(); q > 0 {
			say("quota du NMVS : %s boîtes/s", "NMVS's quota: %s packs/s", figure(q))
		}
		say("CPU : %s s pour 100 000 boîtes (worker seul : %s)", "CPU: %s s for 100,000 packs (worker alone: %s)",
			spread(r.column(func(d *Round) float64 { return d.CPUTotal })), spread(r.column(func(d *Round) float64 { return d.CPU["worker"] })))
		say("mémoire du worker, au plus : %s Mio", "worker's peak memory: %s MiB", spread(r.column(func(d *Round) float64 { return float64(d.Peak["worker"]) / (1 << 20) })))
		say("latence, du départ voulu au résultat : médiane %s ms, 99 %% %s ms", "latency, intended start to outcome: p50 %s ms, p99 %s ms",
			spread(r.column(func(d *Round) float64 { return d.Latency.P50 })), spread(r.column(func(d *Round) float64 { return d.Latency.P99 })))
		if own := r.Config.Latency; own > 0 && r.Config.Jitter == 0 {
			above := func(ms float64) float64 { return ms - float64(own)/float64(time.Millisecond) }
			say("au-delà de la latence du NMVS : médiane %s ms, 99 %% %s ms", "above NMVS's own latency: p50 %s ms, p99 %s ms",
				spread(r.column(func(d *Round) float64 { return above(d.Latency.P50) })), spread(r.column(func(d *Round) float64 { return above(d.Latency.P99) })))
		}
		if r.Rounds[0].RedisBytes > 0 {
			say("Redis : %s octets par boîte", "Redis: %s bytes a pack", spread(r.column(func(d *Round) float64 { return d.RedisBytes })))
		}
		r.segments(say)
	}
	if c := r.Ceiling; c != nil {
		used := 0.0
		for _, v := range c.CPU {
			used += v
		}
		say("plafond (chaîne nue, même session) : %s boîtes/s ; decom en atteint %s %% ; CPU de la chaîne nue %s s pour 100 000",
			"ceiling (bare pipeline, same run): %s packs/s; decom reaches %s %%; the bare pipeline's CPU %s s for 100,000",
			spread(c.Rates), spread(percent(c.Ratios)), figure(used))
	}
	for _, s := range r.Stages {
		say("  seule : %-28s %12.0f/s %8.2f allocations", "  alone: %-28s %12.0f/s %8.2f allocations", s.Name, s.PerSecond, s.Allocs)
	}
	for _, s := range r.Side {
		say("  côte à côte, %s : %s boîtes/s, CPU %s s pour 100 000 ; tué %d fois, %d réponses perdues : %d perdus, %d envoyés deux fois, %d alertes, réglé en %.0f s",
			"  side by side, %s: %s packs/s, CPU %s s for 100,000; killed %d times, %d answers lost: %d lost, %d sent twice, %d alerts, settled in %.0f s",
			s.Name, figure(s.Rate), figure(s.CPU), s.Kills, s.LostAnswers, s.Lost, s.SentTwice, s.Alerts, s.Settled)
	}
	for _, s := range r.Sweeps {
		var parts []string
		for _, p := range s.Points {
			parts = append(parts, p.Value+": "+string(figure(p.Rate)))
		}
		r.points(&s, say)
		say("balayage %s, boîtes/s : %s ; coude à %s", "sweep %s, packs/s: %s; knee at %s", s.Param, strings.Join(parts, ", "), s.Knee)
	}
	return list
}

// points tells what each value of a sweep cost.
func (r *Result) points(s *Sweep, say func(fr, en string, args ...any)) {
	for _, p := range s.Points {
		column := func(of func(*Round) float64) figures {
			list := make([]float64, len(p.Rounds))
			for i := range p.Rounds {
				list[i] = of(&p.Rounds[i])
			}
			return spread(list)
		}
		say("  %s=%s : CPU %s s pour 100 000 (worker seul : %s), worker %s Mio, Redis %s octets par boîte, médiane %s ms, 99 %% %s ms",
			"  %s=%s: CPU %s s for 100,000 (worker alone: %s), worker %s MiB, Redis %s bytes a pack, p50 %s ms, p99 %s ms", s.Param, p.Value,
			column(func(d *Round) float64 { return d.CPUTotal }), column(func(d *Round) float64 { return d.CPU["worker"] }),
			column(func(d *Round) float64 { return float64(d.Peak["worker"]) / (1 << 20) }), column(func(d *Round) float64 { return d.RedisBytes }),
			column(func(d *Round) float64 { return d.Latency.P50 }), column(func(d *Round) float64 { return d.Latency.P99 }))
	}
}

func (r *Result) segments(say func(fr, en string, args ...any)) {
	for i := range r.Rounds {
		for _, s := range r.Rounds[i].Segments {
			followed := "-"
			if s.Followed >= 0 {
				followed = fmt.Sprintf("%.0f s", s.Followed)
			}
			say("  quota %.4g/s de %.0f à %.0f s : rempli à %.1f %% une fois installé, suivi après %s, « trop vite » %d fois (%d une fois installé)",
				"  quota %.4g/s from %.0f to %.0f s: filled to %.1f %% once settled, followed after %s, \"too fast\" %d times (%d once settled)",
				s.Quota, s.From, s.To, 100*s.Fill, followed, s.TooFast, s.TooFastSettled)
		}
	}
}

func percent(list []float64) []float64 {
	out := make([]float64, len(list))
	for i, v := range list {
		out[i] = 100 * v
	}
	return out
}

var natsVersion = regexp.MustCompile(`v([0-9]+)\.([0-9]+)\.([0-9]+)`) // never changed

// GoodNATS says whether a nats-server program is new enough for the protocol (2.12.6).
func GoodNATS(exe string) bool {
	out, err := exec.Command(exe, "--version").Output()
	m := natsVersion.FindStringSubmatch(string(out))
	if err != nil || m == nil {
		return false
	}
	n := 0
	for _, part := range m[1:] {
		v, _ := strconv.Atoi(part) // digits only
		n = n*1000 + v
	}
	return n >= 2_012_006
}
