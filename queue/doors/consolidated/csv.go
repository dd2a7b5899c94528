package consolidated

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"

	"decom/queue/doors"
	"decom/worker/scan"
)

// columns are the column names that are understood. Case and spaces around do not matter.
var columns = map[string][]string{
	"scheme":   {"scheme"},
	"code":     {"code", "gtin", "product_code", "code_produit", "ean"},
	"serial":   {"serial", "serial_number", "sn", "serie", "série", "numero_serie", "numéro_série", "numéro_de_série"},
	"batch":    {"batch", "lot", "numero_lot", "numéro_lot"},
	"expiry":   {"expiry", "exp", "expiration", "peremption", "péremption", "date_peremption", "date_péremption"},
	"parent":   {"sscc", "parent", "carton", "colis", "container", "contenant"},
	"delivery": {"delivery", "bl", "livraison", "delivery_note", "bon_de_livraison", "ref"},
	"opened":   {"opened", "ouvert"},
}

// maxLine bounds one line of a CSV file.
const maxLine = 64 << 10

// csvReader reads a table line by line: a line is a row, whatever its quotes say, so that
// one broken row never swallows those behind it.
type csvReader struct {
	c    *collector
	sep  rune
	cols []string
	line int
	rows []csvRow // of the zeros' search: row and length of a numeric serial
}

type csvRow struct {
	row    int32
	length int
}

func (c *collector) readCSV(r *bufio.Reader) error {
	t := csvReader{c: c}
	for {
		line, long, err := t.next(r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := t.take(line, long); err != nil {
			return err
		}
	}
	if t.cols == nil {
		return problem("le fichier est vide", "the file is empty")
	}
	t.zeros()
	return nil
}

// next returns a line without its end.
func (t *csvReader) next(r *bufio.Reader) (line []byte, long bool, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) <= maxLine {
			line = append(line, part...)
		} else {
			long = true
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if errors.Is(err, io.EOF) && (len(line) > 0 || long) {
			err = nil
		}
		t.line++
		return bytes.TrimRight(line, "\r\n"), long, err
	}
}

func (t *csvReader) take(line []byte, long bool) error {
	switch {
	case t.cols == nil:
		return t.header(doors.UTF8(line))
	case len(bytes.TrimSpace(line)) == 0, len(bytes.Trim(line, ";,\t ")) == 0:
		return nil
	case long:
		t.c.refuse(int32(t.line), t.line, scan.MalformedScan, "", "")
		return nil
	}
	cells, err := t.split(string(line))
	if err != nil {
		t.c.refuse(int32(t.line), t.line, scan.MalformedScan, "", "")
		return nil
	}
	return t.row(cells)
}

func (t *csvReader) split(line string) ([]string, error) {
	if !strings.Contains(line, `"`) {
		return strings.Split(line, string(t.sep)), nil
	}
	r := csv.NewReader(strings.NewReader(line))
	r.Comma, r.FieldsPerRecord = t.sep, -1
	return r.Read()
}

// header reads the line of names; Excel's line "sep=;" may stand before it.
func (t *csvReader) header(line string) error {
	line = strings.TrimPrefix(line, "\ufeff")
	if sep, ok := strings.CutPrefix(line, "sep="); ok && len(sep) == 1 {
		t.sep = rune(sep[0])
		return nil
	}
	if t.sep == 0 {
		best, most := ',', 0
		for _, sep := range ";,\t" {
			if n := strings.Count(line, string(sep)); n > most {
				best, most = sep, n
			}
		}
		t.sep = best
	}
	cells, err := t.split(line)
	if err != nil {
		cells = nil
	}
	t.cols = []string{}
	for _, name := range cells {
		t.cols = append(t.cols, field(name))
	}
	for _, want := range []string{"code", "serial", "batch", "expiry"} {
		if !slices.Contains(t.cols, want) {
			return problem("ligne %d : le tableau doit nommer les colonnes gtin, serial (série), batch (lot) et expiry (péremption), et au besoin sscc et delivery (bl) ; il manque « %s »",
				"line %d: the table must name the columns gtin, serial, batch and expiry, and sscc and delivery where there are any; %q is missing", t.line, want)
		}
	}
	return nil
}

func field(name string) string {
	name = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), " ", "_")
	for f, names := range columns {
		if slices.Contains(names, name) {
			return f
		}
	}
	return ""
}

func (t *csvReader) row(cells []string) error {
	f := scan.Fields{Scheme: string(scan.GTIN)}
	var parent, delivery string
	var opened bool
	for i, value := range cells {
		if i >= len(t.cols) {
			break
		}
		switch t.cols[i] {
		case "scheme":
			if value != "" {
				f.Scheme = value
			}
		case "code":
			f.Code = value
		case "serial":
			f.Serial = value
		case "batch":
			f.Batch = value
		case "expiry":
			f.Expiry = value
		case "parent":
			parent = strings.TrimSpace(value)
		case "delivery":
			delivery = strings.TrimSpace(value)
		case "opened":
			opened = slices.Contains([]string{"1", "true", "yes", "oui", "x"}, strings.ToLower(strings.TrimSpace(value)))
		}
	}
	expiry, full := fullDate(f.Expiry)
	if full {
		f.Expiry = expiry
	}
	if parent != "" && (exponent.MatchString(parent) || digits(parent) && !validSSCC(strings.TrimPrefix(parent, "00"))) {
		// A damaged label would never be received by its scan.
		reason := ExcelNumber
		if digits(parent) {
			reason = ZerosLost
			if len(parent) == 18 || len(parent) == 20 {
				reason = BadSSCC
			}
		}
		t.c.refuse(int32(t.line), t.line, reason, "sscc", parent)
		return nil
	}
	row, err := t.c.add(f, int32(t.line), t.line, full)
	if err != nil || row < 0 {
		return err
	}
	if parent != "" {
		id, _ := ReadRef(parent)
		box := t.c.container(id)
		t.c.list.Rows[row].Parent = box
		t.c.list.Containers[box].Opened = t.c.list.Containers[box].Opened || opened
	}
	if delivery != "" {
		t.c.list.Rows[row].Deliv = []int32{t.c.delivery(delivery)}
	}
	if digits(f.Serial) {
		t.rows = append(t.rows, csvRow{row, len(f.Serial)})
	}
	return nil
}

// zerosLeast is how many rows of one batch are needed before lengths prove anything.
const zerosLeast = 20

// zeros looks for serials that lost their leading zeros: where all serials of one batch
// are numbers and nearly all have one length, the shorter ones were cut by a spreadsheet.
func (t *csvReader) zeros() {
	type batch struct{ code, batch string }
	lengths, all := map[batch]map[int]int{}, map[batch]int{}
	for i := range t.c.list.Rows {
		r := &t.c.list.Rows[i]
		all[batch{r.Code, r.Batch}]++
	}
	for _, it := range t.rows {
		r := &t.c.list.Rows[it.row]
		b := batch{r.Code, r.Batch}
		if lengths[b] == nil {
			lengths[b] = map[int]int{}
		}
		lengths[b][it.length]++
	}
	for _, it := range t.rows {
		r := &t.c.list.Rows[it.row]
		b := batch{r.Code, r.Batch}
		longest, numeric := 0, 0
		for n, count := range lengths[b] {
			longest, numeric = max(longest, n), numeric+count
		}
		if numeric == all[b] && numeric >= zerosLeast && it.length < longest && lengths[b][longest]*10 >= numeric*8 && r.N > 0 {
			t.c.refuse(r.N, int(r.N), ZerosLost, "serial", r.Serial)
			r.N = -r.N
		}
	}
}
