package main

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"decom/bench"
)

func newBenchRebuildCommand(a *app) *cobra.Command {
	var c bench.Config
	var sizes []int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "rebuild",
		Short: a.text("Mesurer la reconstruction de Redis depuis un long registre", "Measure the rebuild of Redis from a long ledger"),
		Long: a.text(`Écrit un registre de --packs boîtes (environ 0,7 Go par million), puis démarre « decom run » devant un Redis vide :
temps, boîtes/s, CPU et mémoire jusqu'à ce que Redis soit à jour ; ensuite un départ ordinaire et 10 000 scans nouveaux.`,
			`Writes a ledger of --packs packs (about 0.7 GB a million), then starts "decom run" with an empty Redis: time, packs/s,
CPU and memory until Redis is up to date; then an ordinary start, and 10,000 new scans.`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.benchRebuild(cmd.Context(), c, sizes, asJSON) },
	}
	fl := cmd.Flags()
	fl.IntSliceVar(&sizes, "packs", []int{1_000_000}, "packs in the ledger; several with commas")
	fl.IntVar(&c.Batch, "batch", 0, "packs in a bulk (default 500)")
	fl.IntVar(&c.Bulks, "bulks", 1, "bulks on their way at once")
	fl.BoolVar(&asJSON, "json", false, "a JSON object a size")
	return cmd
}

func (a *app) benchRebuild(ctx context.Context, c bench.Config, sizes []int, asJSON bool) error {
	c.Set = a.flags.set
	c.NoFsync = true // the ledger is written in minutes, not hours; the rebuild writes nothing
	if err := a.benchChildren(&c); err != nil {
		return err
	}
	for _, n := range sizes {
		if n < 1 || n > 50_000_000 {
			return usagef("--packs %d: 1 to 50000000", n)
		}
	}
	for _, n := range sizes {
		dir, err := os.MkdirTemp("", "decom-bench-")
		if err != nil {
			return err
		}
		c.Dir = dir
		m, err := bench.MeasureRebuild(ctx, c, n)
		_ = os.RemoveAll(dir) // gigabytes; what could not be removed is in the temporary folder
		if err != nil {
			return err
		}
		if asJSON {
			if err := json.NewEncoder(a.stdout).Encode(m); err != nil {
				return err
			}
			continue
		}
		figure := func(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }
		var cpu []string
		for _, name := range []string{"worker", "nats", "redis"} {
			cpu = append(cpu, name+" "+figure(m.CPU[name]))
		}
		a.sayf("%d boîtes, %d enregistrements : Redis reconstruit en %s s, %.0f boîtes/s (CPU s : %s ; worker %d Mio au plus) ; départ ordinaire %s s ; Redis %s octets par boîte ; ensuite CPU %s s pour 100 000 scans (worker %s)",
			"%d packs, %d records: Redis rebuilt in %s s, %.0f packs/s (CPU s: %s; worker's peak %d MiB); ordinary start %s s; Redis %s bytes a pack; afterwards CPU %s s for 100,000 scans (worker %s)",
			m.Packs, m.Records, figure(float64(m.Anew)), m.Rate, strings.Join(cpu, ", "), m.Peak["worker"]>>20, figure(float64(m.Again)),
			figure(m.RedisBytes), figure(m.Steady), figure(m.SteadyWorker))
	}
	return nil
}
