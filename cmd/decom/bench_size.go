package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"decom/bench"
)

func newBenchCompareCommand(a *app) *cobra.Command {
	threshold := 5.0
	var unit string
	c := &cobra.Command{
		Use:   "compare A B",
		Short: a.text("Comparer deux mesures, avec leur signification", "Compare two measurements, with significance"),
		Long: a.text(`Compare deux mesures : result.json, bench.txt, ou un dossier de « bench run ». Un écart compte s'il est
significatif (Mann-Whitney, p < 0,05 ; il faut 4 tours ou plus de chaque côté). Code 99 si un chiffre est
significativement pire de plus de --threshold %.`,
			`Compares two measurements: result.json, bench.txt, or a folder of "bench run". A difference counts if it
is significant (Mann-Whitney, p < 0.05; that takes 4 or more rounds on each side). Exit code 99 if a
figure is significantly worse by more than --threshold %.`),
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error { return a.benchCompare(args[0], args[1], threshold, unit) },
	}
	c.Flags().Float64Var(&threshold, "threshold", threshold, "percent by which a figure may be worse")
	c.Flags().StringVar(&unit, "unit", "", "judge this `unit` only, as in packs/s; default: all")
	return c
}

func (a *app) benchCompare(before, after string, threshold float64, unit string) error {
	if threshold < 0 {
		return usagef("--threshold %v: percent, not negative", threshold)
	}
	old, err := bench.ReadSamples(before)
	if err != nil {
		return err
	}
	now, err := bench.ReadSamples(after)
	if err != nil {
		return err
	}
	list, missing := bench.Compare(old, now)
	if len(list) == 0 {
		return errors.New(a.text("rien de commun entre les deux mesures : profil, mode et réglages doivent être les mêmes",
			"the two measurements have nothing in common: profile, mode and settings must be the same"))
	}
	worse := 0
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, a.text("mesure\tunité\tA\tB\técart\tp", "measurement\tunit\tA\tB\tchange\tp"))
	weak := false
	for _, c := range list {
		if unit != "" && c.Unit != unit {
			continue
		}
		mark := ""
		if c.Significant && 100*c.Worse > threshold {
			worse++
			mark = "\t" + a.text("PIRE", "WORSE")
		}
		change := "~"
		if c.Significant {
			change = fmt.Sprintf("%+.1f %%", 100*c.Change)
		}
		weak = weak || c.N1 < 4 || c.N2 < 4
		fmt.Fprintf(w, "%s\t%s\t%.5g\t%.5g\t%s\tp=%.3f n=%d+%d%s\n", c.Name, c.Unit, c.Old, c.New, change, c.P, c.N1, c.N2, mark)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if weak {
		a.say(bench.Both("Moins de 4 tours d'un côté : aucun écart ne peut être significatif (bench run --rounds 5).",
			"Fewer than 4 rounds on one side: no difference can be significant (bench run --rounds 5)."))
	}
	if len(missing) > 0 {
		a.sayf("D'un seul côté : %s", "On one side only: %s", strings.Join(missing, ", "))
	}
	if worse > 0 {
		return exitWith(exitThreshold, fmt.Errorf(a.text("%d chiffre(s) pire(s) de plus de %v %%", "%d figure(s) worse by more than %v %%"), worse, threshold))
	}
	return nil
}

func newBenchPlanCommand(a *app) *cobra.Command {
	var q bench.Question
	var quota, bulk string
	c := &cobra.Command{
		Use:   "plan",
		Short: a.text("Dire combien de temps dure un retard", "Say how long a backlog lasts"),
		Long: a.text(`Dit combien de temps un compte met à écouler un retard, d'après les quotas du NMVS ; rien n'est démarré.
Modèle : un appel unitaire porte une boîte, un lot --batch boîtes, les deux quotas servent ensemble (mode
auto), les premiers lots sont petits, ce qui arrive entre-temps se déduit du débit.`,
			`Says how long one account takes to work off a backlog, by NMVS's quotas; nothing is started.
Model: a single call carries one pack, a bulk --batch packs, both quotas are used together (mode auto), the
first bulks are small, what arrives meanwhile is taken off the rate.`),
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.benchForecast(q, quota, bulk) },
	}
	fl := c.Flags()
	fl.IntVar(&q.Backlog, "backlog", 0, "packs that wait")
	fl.StringVar(&quota, "quota", "", "single calls that NMVS takes, as in 5/s; default: none are used")
	fl.StringVar(&bulk, "bulk", "", "bulks that NMVS takes, as in 6/min; default: none are used")
	fl.IntVar(&q.Batch, "batch", 500, "packs in a bulk")
	fl.Float64Var(&q.Arriving, "arriving", 0, "packs a second that go on arriving")
	fl.Float64Var(&q.Fill, "fill", 0.9, "part of the quota that is really used, measured: 0.86 to 0.97 (bench/results)")
	return c
}

func (a *app) benchForecast(q bench.Question, quota, bulk string) (err error) {
	if quota != "" {
		if q.Quota, err = rateFlag(quota); err != nil {
			return usagef("--quota: %v", err)
		}
	}
	if bulk != "" {
		if q.BulkQuota, err = rateFlag(bulk); err != nil {
			return usagef("--bulk: %v", err)
		}
		q.BulkQuota *= 60
	}
	f, err := q.Forecast()
	if err != nil {
		return usagef("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	a.sayf("%d boîtes : unitaire %.4g/s, lots %.4g/s, ensemble %.4g boîtes/s ; arrivées %.4g/s.",
		"%d packs: single %.4g/s, bulks %.4g/s, together %.4g packs/s; arriving %.4g/s.", q.Backlog, f.SingleRate, f.BulkRate, f.Rate, q.Arriving)
	if f.Never {
		a.sayf("Jamais : il arrive autant ou plus que le quota ne laisse passer.", "Never: as much or more arrives than the quota lets through.")
		return nil
	}
	a.sayf("Au mieux %v ; attendu %v (quota rempli à %.0f %%, premiers lots petits).", "At best %v; expect %v (quota filled to %.0f %%, first bulks small).", f.Best, f.Likely, 100*q.Fill)
	if q.BulkQuota > 0 {
		a.sayf("limits.bulk compte aussi la lecture des résultats : donnez-lui %.4g/min si le quota du NMVS ne les compte pas.",
			"limits.bulk also counts the fetching of results: give it %.4g/min if NMVS's quota does not count them.", 2*q.BulkQuota)
	}
	return nil
}
