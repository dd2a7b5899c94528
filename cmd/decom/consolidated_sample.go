package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"decom/queue/doors/consolidated"
	"decom/queue/doors/files"
	"decom/worker"
	"decom/worker/scan"
)

type sampleFlags struct {
	of, who string
	json    bool
}

func newConsolidatedSample(a *app) *cobra.Command {
	var f sampleFlags
	c := &cobra.Command{
		Use:   "sample ID [SCANS]",
		Short: a.text("Comparer des boîtes scannées à la liste", "Hold scanned packs against the list"),
		Long: a.text(`Lit des boîtes scannées, une par ligne, du fichier SCANS ou de l'entrée standard (comme decom publish), et
les compare à la liste du fichier ID. Rien n'est envoyé pour ces lectures elles-mêmes. Elles établissent
comment une date complète est imprimée sur les boîtes d'un produit et d'un lot, et sont le contrôle que le
réglage de l'expéditeur peut demander. Avec --of SSCC, elles sont tout le contenu de ce contenant : ce qu'il
liste et qui n'est pas scanné manque, et n'est pas libéré. Compter un contenant avant de le réceptionner.`,
			`Read scans, a line each, from the file SCANS or standard input (as decom publish
takes them), and hold them against the list of file ID. Nothing is sent for these
scans themselves. They settle how a full date is printed on the packs of a product
and batch, and they are the sample check that the sender's settings may ask for.
With --of SSCC they are all that is in that container: what it lists and was not
scanned is missing and not released. Count a container before you receive it.`),
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			if f.who == "" {
				return a.usagef("--who manque : un contrôle est signé", "--who is missing: a sample is signed")
			}
			packs, err := a.samplePacks(append(args[1:], "-")[0])
			if err != nil {
				return err
			}
			return a.withFile(c.Context(), args[0], func(g *goods, file *consolidated.File) error {
				return a.consolidatedSample(c.Context(), g, file, packs, f)
			})
		},
	}
	c.Flags().StringVar(&f.of, "of", "", "container that was counted whole: its `SSCC`")
	c.Flags().StringVar(&f.who, "who", "", "who scanned: a `name`, kept")
	c.Flags().BoolVar(&f.json, "json", false, "one JSON object")
	return c
}

// samplePacks reads the scans. One that cannot be read ends it before anything is noted:
// a count with a hole would call a pack missing.
func (a *app) samplePacks(name string) ([]scan.Pack, error) {
	d := files.Defaults{Site: "s", Device: "d", Clock: files.Clock{Now: time.Now}, Import: readImport}
	in, closeInput, err := a.openInput(name, publishFlags{}, &d)
	if err != nil {
		return nil, err
	}
	defer closeInput()
	var packs []scan.Pack
	for {
		e, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the scans: %w", err)
		}
		if e.Empty {
			continue
		}
		ev, err := d.Complete(e)
		if err != nil {
			return nil, fmt.Errorf(a.text("ligne %d : %w ; rien n'est noté", "line %d: %w; nothing is noted"), e.Line, err)
		}
		r, rejection := worker.Read(ev.Decoded, time.Now())
		if rejection != nil {
			return nil, fmt.Errorf(a.text("ligne %d : %s ; rien n'est noté", "line %d: %s; nothing is noted"), e.Line,
				a.lang.of(scan.Message(scan.Supply, scan.Rejected, rejection.Reason)))
		}
		packs = append(packs, r.Pack)
	}
	if len(packs) == 0 {
		return nil, errors.New(a.text("aucun scan n'a été lu ; rien n'est noté", "no scan was read; nothing is noted"))
	}
	return packs, nil
}

func (a *app) consolidatedSample(ctx context.Context, g *goods, file *consolidated.File, packs []scan.Pack, f sampleFlags) error {
	of := f.of
	if of != "" {
		of, _ = consolidated.ReadRef(of)
	}
	s, m, err := g.Sample(ctx, file, packs, of, f.who)
	if err != nil {
		return err
	}
	if f.json {
		return a.printJSON(struct {
			fileJSON
			*consolidated.Sample
			States map[string]int `json:"states"`
		}{newFileJSON(s.File), m, states(s)})
	}
	a.sayf("%d boîtes conformes à la liste, %d dont le lot ou la date diffère, %d manquantes, %d en trop", "%d packs as listed, %d with another batch or expiry, %d missing, %d too many",
		len(m.OK), len(m.Wrong), len(m.Missing), len(m.Extra))
	for _, x := range m.Extra {
		fmt.Fprintf(a.stdout, "  %s %s %s %s  %s\n", x.Code, x.Serial, x.Batch, x.Expiry, x.Reason)
	}
	if of == "" && len(m.Extra) > 0 {
		a.sayf("Une boîte n'est pas dans la liste : plus rien du fichier ne part avant que les contenants soient comptés (--of SSCC) ou le fichier écarté.",
			"A pack is not in the list: nothing more of the file leaves until its containers are counted (--of SSCC) or the file is dropped.")
	}
	a.printStates(s)
	return nil
}

func newConsolidatedOpen(a *app) *cobra.Command {
	var p personFlags
	c := &cobra.Command{
		Use:   "open ID SSCC",
		Short: a.text("Dire qu'un contenant a été ouvert : ses boîtes se scannent une à une", "Say that a container was opened: its packs are scanned one by one"),
		Args:  cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			who, err := a.person(p)
			if err != nil {
				return err
			}
			return a.withFile(c.Context(), args[0], func(g *goods, f *consolidated.File) error {
				box, _ := consolidated.ReadRef(args[1])
				if err := g.Open(c.Context(), f, box, who.Who, who.Why); err != nil {
					return err
				}
				a.sayf("%s est noté ouvert : ce qui n'en est pas encore publié ne le sera pas.", "%s is noted as opened: what is not published of it yet will not be.", box)
				return nil
			})
		},
	}
	p.add(a, c)
	return c
}

func newConsolidatedDrop(a *app) *cobra.Command {
	var p personFlags
	c := &cobra.Command{
		Use:   "drop ID",
		Short: a.text("Écarter un fichier : plus rien n'en est publié", "Drop a file: nothing more of it is published"),
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			who, err := a.person(p)
			if err != nil {
				return err
			}
			return a.withFile(c.Context(), args[0], func(g *goods, f *consolidated.File) error {
				if err := g.Drop(c.Context(), f, who.Who, who.Why); err != nil {
					return err
				}
				a.sayf("%s est écarté ; ce qui en est déjà publié reste.", "%s is dropped; what is published of it already stays.", f.ID)
				return nil
			})
		},
	}
	p.add(a, c)
	return c
}
