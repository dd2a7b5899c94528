package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"decom/worker/scan"
)

// maxCSV bounds a CSV file: it is read whole, because its encoding and its
// separator show only then.
const maxCSV = 256 << 20

// csvNames are the column names that are understood, by field of the event.
// Case, accents' absence and surrounding spaces do not matter.
var csvNames = map[string][]string{
	"scan":        {"scan", "barcode", "datamatrix", "data_matrix", "code_barres", "code-barres"},
	"scheme":      {"scheme"},
	"code":        {"code", "gtin", "product_code", "code_produit"},
	"serial":      {"serial", "serial_number", "sn", "serie", "série", "numero_serie", "numéro_série"},
	"batch":       {"batch", "lot"},
	"expiry":      {"expiry", "exp", "peremption", "péremption"},
	"op":          {"op", "operation", "opération"},
	"entry":       {"entry", "saisie"},
	"ref":         {"ref", "reference", "référence"},
	"operator":    {"operator", "operateur", "opérateur"},
	"id":          {"id"},
	"at":          {"at", "date", "horodatage"},
	"site":        {"site"},
	"device":      {"device", "appareil"},
	"atd_checked": {"atd_checked"},
}

// csvReader reads a table whose first line names its columns.
type csvReader struct {
	r       *csv.Reader
	columns []string // field of each column, "" = not understood, ignored
}

func newCSVReader(r io.Reader) (*csvReader, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxCSV+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxCSV {
		return nil, fmt.Errorf("the CSV file is larger than %d MiB", maxCSV>>20)
	}
	text := utf8Text(bytes.TrimPrefix(data, []byte("\ufeff")))
	header, rest, _ := strings.Cut(text, "\n")
	comma := separatorOf(header)
	if sep, ok := strings.CutPrefix(strings.TrimSpace(header), "sep="); ok && len(sep) == 1 {
		// Excel's own way of naming the separator, in a line before the header. It
		// stays an empty line, so that line numbers are the file's.
		comma, text = rune(sep[0]), "\n"+rest
	}
	c := &csvReader{r: csv.NewReader(strings.NewReader(text))}
	c.r.Comma = comma
	c.r.FieldsPerRecord = -1 // a short line is one line's fault, not the file's
	names, err := c.r.Read()
	if err != nil {
		return nil, fmt.Errorf("the first line of a CSV file must name its columns: %w", err)
	}
	for _, name := range names {
		c.columns = append(c.columns, csvField(name))
	}
	if !slices.Contains(c.columns, "scan") && !slices.Contains(c.columns, "code") {
		return nil, errors.New("the first line of a CSV file must name a column scan, or the columns gtin, serial, batch and expiry")
	}
	return c, nil
}

// separatorOf finds the separator: the one of ; , and tab that the header has most of.
func separatorOf(header string) rune {
	best, most := ',', 0
	for _, sep := range ";,\t" {
		if n := strings.Count(header, string(sep)); n > most {
			best, most = sep, n
		}
	}
	return best
}

func csvField(name string) string {
	name = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), " ", "_")
	for field, names := range csvNames {
		if slices.Contains(names, name) {
			return field
		}
	}
	return ""
}

// next implements input.
func (c *csvReader) next() (entry, error) {
	record, err := c.r.Read()
	if errors.Is(err, io.EOF) {
		return entry{}, io.EOF
	}
	if perr, ok := errors.AsType[*csv.ParseError](err); ok {
		return entry{line: perr.StartLine, fault: &scan.Malformed{Why: "not CSV: " + perr.Err.Error()}}, nil
	}
	if err != nil {
		return entry{}, err
	}
	line, _ := c.r.FieldPos(0)
	e := entry{line: line, object: map[string]json.RawMessage{}}
	pack := map[string]string{}
	for i, value := range record {
		if i >= len(c.columns) || value == "" {
			continue
		}
		switch field := c.columns[i]; field {
		case "":
		case "scheme", "code", "serial", "batch", "expiry":
			pack[field] = value
		case "site":
			e.site = value
		case "device":
			e.device = value
		case "atd_checked":
			e.fault = e.setChecked(value)
		default:
			e.object[field] = jsonText(value)
		}
	}
	e.finishPack(pack)
	return e, nil
}

// ready implements input: the table is in memory.
func (c *csvReader) ready() bool { return true }

// setChecked takes a fact that a person recorded; it is never guessed.
func (e *entry) setChecked(value string) *scan.Malformed {
	switch strings.ToLower(value) {
	case "true", "1", "yes", "oui":
		e.object["atd_checked"] = json.RawMessage("true")
	case "false", "0", "no", "non":
		e.object["atd_checked"] = json.RawMessage("false")
	default:
		return &scan.Malformed{Field: "atd_checked", Why: "neither true nor false"}
	}
	return nil
}

// finishPack puts the pack's columns together; a scan beside them wins, because
// it is what the carrier says. Nothing is padded: a code that a spreadsheet
// robbed of its zeros is refused by its length.
func (e *entry) finishPack(pack map[string]string) {
	if text, ok := e.object["scan"]; ok {
		_ = json.Unmarshal(text, &e.text) // our own encoding
		return
	}
	if pack["scheme"] == "" {
		pack["scheme"] = string(scan.GTIN)
	}
	b, _ := json.Marshal(scan.Fields{ // texts always encode
		Scheme: pack["scheme"], Code: pack["code"], Serial: pack["serial"], Batch: pack["batch"], Expiry: pack["expiry"],
	})
	e.object["pack"] = b
}
