package report

import (
	"archive/zip"
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xuri/excelize/v2"
)

// Sheet is a table: text cells and whole numbers.
type Sheet struct {
	Name string
	Head []string
	Rows [][]any // string, int or float64
}

// DayColumns are those of the CSV. Columns are added at the end, never renamed.
var DayColumns = []string{"date", "zone", "account", "finess", "region", "site", "device", "hour", "kind", "op", "entry", "repaired", "result", "reason", "count"}

// CSVRows lists the day as one table: kind "outcome", a row for each kind of outcome of each
// hour and device, and kind "end_of_day", a row for each place where packs waited.
func (d *DayReport) CSVRows() [][]any {
	var rows [][]any
	base := []any{d.Date, d.Zone, d.Account, d.FINESS, d.Region}
	row := func(cells ...any) { rows = append(rows, append(slices.Clone(base), cells...)) }
	cells := make([]Cell, 0, len(d.cells))
	for c := range d.cells {
		cells = append(cells, c)
	}
	slices.SortFunc(cells, compareCells)
	for _, c := range cells {
		entry := "scanned"
		if c.Manual {
			entry = "manual"
		}
		row(c.Site, c.Device, d.day.stamp(time.Unix(c.Hour, 0)), "outcome", c.Op.String(), entry, strconv.FormatBool(c.Repaired), string(c.Result), string(c.Reason), d.cells[c])
	}
	ends := make([]endKey, 0, len(d.ends))
	for k := range d.ends {
		ends = append(ends, k)
	}
	slices.SortFunc(ends, func(a, b endKey) int {
		return cmp.Or(cmp.Compare(a.site, b.site), cmp.Compare(a.device, b.device), cmp.Compare(a.end, b.end))
	})
	for _, k := range ends {
		row(k.site, k.device, "", "end_of_day", "", "", "", string(k.end), "", d.ends[k])
	}
	return rows
}

func compareCells(a, b Cell) int {
	return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Device, b.Device), cmp.Compare(a.Hour, b.Hour), cmp.Compare(a.Op, b.Op),
		slices.Compare([]byte{bit(a.Manual), bit(a.Repaired)}, []byte{bit(b.Manual), bit(b.Repaired)}), cmp.Compare(a.Result, b.Result), cmp.Compare(a.Reason, b.Reason))
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// DaySheets lays reports of several accounts out as one workbook.
func DaySheets(ds []*DayReport, w Words) []Sheet {
	sum := Sheet{Name: w.of("Synthèse", "Summary"), Head: []string{"date", w.of("compte", "account"), "FINESS", w.of("région", "region"), "site",
		w.of("lectures", "scans"), w.of("lues", "scanned"), w.of("à la main", "by hand"), w.of("réparées", "repaired")}}
	for _, r := range results {
		sum.Head = append(sum.Head, w(resultWords[r]))
	}
	for _, e := range dayEnds {
		sum.Head = append(sum.Head, w.of("fin de journée : ", "end of day: ")+w(endWords[e]))
	}
	sum.Head = append(sum.Head, w.of("journée close", "day over"), w.of("enregistrement", "record"), "SHA-256", w.of("remarques", "notes"))
	detail := Sheet{Name: w.of("Détail", "Detail"), Head: DayColumns}
	wait := Sheet{Name: w.of("En attente", "Waiting"), Head: []string{w.of("compte", "account"), w.of("depuis", "since"), w.of("boîte", "pack"), w.of("produit", "product"), w.of("série", "serial"),
		w.of("lot", "batch"), w.of("péremption", "expiry"), w.of("opération", "operation"), w.of("résultat", "result"), w.of("motif", "reason"), "code",
		w.of("alerte", "alert"), w.of("origine", "source"), w.of("événement", "event"), w.of("explication", "explanation")}}
	act := Sheet{Name: w.of("Décisions", "Decisions"), Head: []string{w.of("compte", "account"), w.of("heure", "time"), w.of("enregistrement", "record"), w.of("quoi", "what"),
		w.of("état", "state"), w.of("boîtes", "packs"), w.of("qui", "who"), w.of("pourquoi", "why")}}
	for _, d := range ds {
		for i := range d.Sites {
			sum.Rows = append(sum.Rows, d.Sites[i].summary(d, w))
		}
		detail.Rows = append(detail.Rows, d.CSVRows()...)
		for i := range d.Waiting {
			x := &d.Waiting[i]
			wait.Rows = append(wait.Rows, []any{d.Account, x.Since, string(x.Pack), x.Product, x.Serial, x.Batch, x.Expiry, x.Op, string(x.Result), string(x.Reason), x.Code,
				x.AlertID, x.Source, x.Event, w(x.Message)})
		}
		for _, a := range d.Actions {
			act.Rows = append(act.Rows, []any{d.Account, a.At, int(a.Seq), w(actionWords[a.What]), a.To, a.Packs, a.Who, a.Why})
		}
	}
	return []Sheet{sum, detail, wait, act}
}

func (s *SiteReport) summary(d *DayReport, w Words) []any {
	row := []any{d.Date, d.Account, d.FINESS, d.Region, s.Site, s.Scans, s.Scanned, s.Manual, s.Repaired}
	for _, r := range results {
		row = append(row, s.Results[r])
	}
	for _, e := range dayEnds {
		row = append(row, s.End[e])
	}
	var notes []string
	for _, n := range d.Notes {
		notes = append(notes, w(n.Message))
	}
	over := w.of("non", "no")
	if d.Complete {
		over = w.of("oui", "yes")
	}
	return append(row, over, int(d.Ledger.Head), d.Ledger.HeadHash, strings.Join(notes, " "))
}

// WriteCSV writes one table. foreign keeps a spreadsheet from running a cell as a formula.
func WriteCSV(to io.Writer, head []string, rows [][]any, foreign func(string) string) error {
	c := csv.NewWriter(to)
	if err := c.Write(head); err != nil {
		return err
	}
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, v := range row {
			if s, ok := v.(string); ok {
				cells[i] = foreign(s)
			} else {
				cells[i] = fmt.Sprint(v)
			}
		}
		if err := c.Write(cells); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// WriteXLSX writes a workbook. Text stays text, so that no zero is lost and nothing runs as a
// formula; numbers are numbers. The same sheets give the same bytes.
func WriteXLSX(to io.Writer, sheets []Sheet) (err error) {
	book := excelize.NewFile()
	defer func() { err = errors.Join(err, book.Close()) }()
	for i, s := range sheets {
		if i == 0 {
			if err := book.SetSheetName("Sheet1", s.Name); err != nil {
				return err
			}
		} else if _, err := book.NewSheet(s.Name); err != nil {
			return err
		}
		if err := writeSheet(book, s); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	if err := book.Write(&b); err != nil {
		return err
	}
	return inOrder(to, b.Bytes())
}

// inOrder writes a zip archive's files by name: excelize writes them in the order of a map.
func inOrder(to io.Writer, archive []byte) error {
	in, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return err
	}
	slices.SortFunc(in.File, func(a, b *zip.File) int { return cmp.Compare(a.Name, b.Name) })
	out := zip.NewWriter(to)
	for _, f := range in.File {
		if err := out.Copy(f); err != nil {
			return err
		}
	}
	return out.Close()
}

func writeSheet(book *excelize.File, s Sheet) error {
	w, err := book.NewStreamWriter(s.Name)
	if err != nil {
		return err
	}
	head := make([]any, len(s.Head))
	for i, h := range s.Head {
		head[i] = h
	}
	for i, row := range append([][]any{head}, s.Rows...) {
		if i >= excelize.TotalRows {
			return fmt.Errorf("sheet %s has more than %d rows: take the CSV", s.Name, excelize.TotalRows)
		}
		if err := w.SetRow(fmt.Sprintf("A%d", i+1), row); err != nil {
			return err
		}
	}
	return w.Flush()
}
