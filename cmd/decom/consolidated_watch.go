package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"decom/queue/doors/consolidated"
	"decom/worker/scan"
)

type watchFlags struct {
	site, device string
	since        time.Duration
	notes, json  bool
}

func newConsolidatedWatch(a *app) *cobra.Command {
	var f watchFlags
	c := &cobra.Command{
		Use:   "watch",
		Short: a.text("Prendre pour réception chaque étiquette SSCC scannée", "Take every SSCC label that is scanned for a receipt"),
		Long: a.text(`Suit les lectures de la file et réceptionne chaque contenant dont un appareil scanne l'étiquette (SSCC),
jusqu'à ce qu'on l'arrête. La lecture elle-même est rejetée, comme celle de toute étiquette : ce n'est pas le
code d'une boîte. Une étiquette déjà reçue ne change rien : --since peut remonter loin, et plusieurs peuvent
tourner à la fois. Choisir les appareils par --site et --device : une étiquette scannée pour un inventaire
serait une réception, elle aussi.`,
			`Follow the scans of the queue and receive each container whose label (SSCC) a device
scans, until it is stopped. The scan itself is rejected as every label is: it is no
pack's code. A label that was received before changes nothing, so --since may lie far
back; several may run at once. Choose the devices with --site and --device: a label
that is scanned for stock-taking would be a receipt, too.`),
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.consolidatedWatch(c.Context(), f) },
	}
	c.Flags().StringVar(&f.site, "site", "", "only labels scanned at this site")
	c.Flags().StringVar(&f.device, "device", "", "only labels scanned by this device")
	c.Flags().DurationVar(&f.since, "since", 24*time.Hour, "begin with labels scanned this long ago")
	c.Flags().BoolVar(&f.notes, "delivery-notes", false, "a scan whose text is a held file's delivery note is a receipt, too")
	c.Flags().BoolVar(&f.json, "json", false, "one JSON object a label")
	return c
}

func (a *app) consolidatedWatch(ctx context.Context, f watchFlags) error {
	for _, it := range []struct{ flag, value string }{{"--site", f.site}, {"--device", f.device}} {
		if it.value != "" && !scan.ValidToken(it.value) {
			return badToken(it.flag, it.value)
		}
	}
	g, err := a.openGoods(ctx, true)
	if err != nil {
		return err
	}
	defer g.close()
	err = g.Watch(ctx, g.conn, consolidated.Labels{Site: f.site, Device: f.device, Since: time.Now().Add(-f.since), Notes: f.notes}, func(s consolidated.Seen) { a.tellLabel(s, f.json) })
	if _, signal := errors.AsType[stopped](context.Cause(ctx)); signal && ctx.Err() != nil {
		return nil // asked to stop: nothing is in hand that a later start does not find
	}
	return err
}

// tellLabel says what came of one label. Standard output that is gone ends nothing: the
// receipts are what matters.
func (a *app) tellLabel(s consolidated.Seen, asJSON bool) {
	if s.Behind > 0 {
		a.warn(fmt.Sprintf(a.text("%s/%s : plus de %d étiquettes attendent ; les suivantes attendent dans la file, rien n'est perdu",
			"%s/%s: more than %d labels wait; the next ones wait in the queue, nothing is lost"), s.Site, s.Device, s.Behind))
		return
	}
	if asJSON {
		out := struct {
			Site   string     `json:"site"`
			Device string     `json:"device"`
			Ref    string     `json:"ref"`
			File   string     `json:"file,omitempty"`
			Count  int        `json:"released"`
			Error  *scan.Text `json:"error,omitempty"`
		}{Site: s.Site, Device: s.Device, Ref: s.Ref, Count: s.Count}
		if s.File != nil {
			out.File = s.File.ID
		}
		if p, ok := errors.AsType[*consolidated.Problem](s.Err); ok {
			out.Error = &p.Text
		}
		_ = a.printJSON(out)
		return
	}
	if s.Err != nil {
		a.sayf("%s/%s : %v", "%s/%s: %v", s.Site, s.Device, a.inLanguage(s.Err))
		return
	}
	a.sayf("%s/%s : %s reçu (fichier %s) ; %d boîtes du fichier publiées", "%s/%s: %s received (file %s); %d packs of the file published", s.Site, s.Device, s.Ref, s.File.ID, s.Count)
}
