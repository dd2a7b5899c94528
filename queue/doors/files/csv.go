package files

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf16"

	"decom/queue/doors"
	"decom/worker/scan"
)

// MaxCSV bounds a CSV file: it is read whole, because its encoding and its
// separator show only then.
const MaxCSV = 256 << 20

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

// CSVOptions is what somebody knows of a table; what is zero is found out.
type CSVOptions struct {
	Separator rune     // ; , tab or |
	Encoding  string   // utf-8, windows-1252, utf-16le, utf-16be
	Columns   []string // names of the columns of a table that has no line with them; "" or - is skipped
}

// Encodings are the words of CSVOptions.Encoding.
func Encodings() []string { return []string{"utf-8", "windows-1252", "utf-16le", "utf-16be"} }

// Validate says what is wrong with the options.
func (o CSVOptions) Validate() error {
	var errs []error
	if o.Separator != 0 && !strings.ContainsRune(";,\t|", o.Separator) {
		errs = append(errs, fmt.Errorf("separator: %q is not ; , tab or |", o.Separator))
	}
	if o.Encoding != "" && !slices.Contains(Encodings(), o.Encoding) {
		errs = append(errs, fmt.Errorf("encoding: %q is not one of %s", o.Encoding, strings.Join(Encodings(), ", ")))
	}
	if len(o.Columns) > 0 {
		if _, err := columnsOf(o.Columns); err != nil {
			errs = append(errs, errors.New("columns: must name scan, or gtin, serial, batch and expiry"))
		}
	}
	return errors.Join(errs...)
}

// CSV reads a table.
type CSV struct {
	r       *csv.Reader
	columns []string // field of each column, "" = not understood, ignored
}

// NewCSV reads the whole table. The error says why it is none.
func NewCSV(r io.Reader, o CSVOptions) (*CSV, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxCSV+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxCSV {
		return nil, unreadable("le fichier CSV dépasse %d Mio", "the CSV file is larger than %d MiB", MaxCSV>>20)
	}
	text, err := decode(data, o.Encoding)
	if err != nil {
		return nil, err
	}
	header, rest, _ := strings.Cut(text, "\n")
	comma := separatorOf(header)
	if sep, ok := strings.CutPrefix(strings.TrimSpace(header), "sep="); ok && len(sep) == 1 {
		// Excel's own way of naming the separator, in a line before the header. It
		// stays an empty line, so that line numbers are the file's.
		comma, text = rune(sep[0]), "\n"+rest
	}
	if o.Separator != 0 {
		comma = o.Separator
	}
	c := &CSV{r: csv.NewReader(strings.NewReader(text))}
	c.r.Comma = comma
	c.r.FieldsPerRecord = -1 // a short line is one line's fault, not the file's
	names := o.Columns
	if len(names) == 0 {
		if names, err = c.r.Read(); err != nil {
			return nil, unreadable("la première ligne d'un fichier CSV doit nommer ses colonnes (%v)", "the first line of a CSV file must name its columns (%v)", err)
		}
	}
	if c.columns, err = columnsOf(names); err != nil {
		return nil, err
	}
	return c, nil
}

// decode makes UTF-8 of a table: a byte order mark decides, then what is given, then
// UTF-8 where it is valid, then Windows-1252.
func decode(data []byte, encoding string) (string, error) {
	switch {
	case bytes.HasPrefix(data, []byte("\ufeff")):
		return doors.UTF8(data[3:]), nil
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}):
		return fromUTF16(data[2:], binary.LittleEndian)
	case bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		return fromUTF16(data[2:], binary.BigEndian)
	case encoding == "utf-16le":
		return fromUTF16(data, binary.LittleEndian)
	case encoding == "utf-16be":
		return fromUTF16(data, binary.BigEndian)
	case encoding == "windows-1252":
		return doors.Windows1252(data), nil
	}
	return doors.UTF8(data), nil
}

func fromUTF16(data []byte, order binary.ByteOrder) (string, error) {
	if len(data)%2 != 0 {
		return "", unreadable("le fichier se dit en UTF-16 et finit par un demi-caractère", "the file says that it is UTF-16, and ends in half a character")
	}
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = order.Uint16(data[2*i:])
	}
	return string(utf16.Decode(units)), nil
}

// separatorOf finds the separator: the one of ; , tab and | that the header has most of.
func separatorOf(header string) rune {
	best, most := ',', 0
	for _, sep := range ";,\t|" {
		if n := strings.Count(header, string(sep)); n > most {
			best, most = sep, n
		}
	}
	return best
}

func columnsOf(names []string) (fields []string, err error) {
	for _, name := range names {
		fields = append(fields, csvField(name))
	}
	if !slices.Contains(fields, "scan") && !slices.Contains(fields, "code") {
		return nil, unreadable("la première ligne d'un fichier CSV doit nommer une colonne scan, ou les colonnes gtin, serial, batch et expiry",
			"the first line of a CSV file must name a column scan, or the columns gtin, serial, batch and expiry")
	}
	return fields, nil
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

// Next implements Input.
func (c *CSV) Next() (Entry, error) {
	record, err := c.r.Read()
	if errors.Is(err, io.EOF) {
		return Entry{}, io.EOF
	}
	if perr, ok := errors.AsType[*csv.ParseError](err); ok {
		return Entry{Line: perr.StartLine, Fault: &scan.Malformed{Why: "not CSV: " + perr.Err.Error()}}, nil
	}
	if err != nil {
		return Entry{}, err
	}
	line, _ := c.r.FieldPos(0)
	e, object, pack := Entry{Line: line, Empty: true}, map[string]json.RawMessage{}, map[string]string{}
	for i, value := range record {
		e.Empty = e.Empty && strings.TrimSpace(value) == "" // a sheet's last rows
		if i >= len(c.columns) || value == "" {
			continue
		}
		switch field := c.columns[i]; field {
		case "":
		case "scheme", "code", "serial", "batch", "expiry":
			pack[field] = value
		case "site":
			e.Site = value
		case "device":
			e.Device = value
		case "atd_checked":
			object[field], e.Fault = checked(value)
		default:
			object[field] = doors.Text(value)
		}
	}
	e.finish(object, pack)
	return e, nil
}

// Has says whether the table has a column for the field of the event (site, device, op ...). No table has none.
func (c *CSV) Has(field string) bool { return c != nil && slices.Contains(c.columns, field) }

// Ready implements Input: the table is in memory.
func (c *CSV) Ready() bool { return true }

// checked takes a fact that a person recorded; it is never guessed.
func checked(value string) (json.RawMessage, *scan.Malformed) {
	switch strings.ToLower(value) {
	case "true", "1", "yes", "oui":
		return json.RawMessage("true"), nil
	case "false", "0", "no", "non":
		return json.RawMessage("false"), nil
	}
	return json.RawMessage("null"), &scan.Malformed{Field: "atd_checked", Why: "neither true nor false"}
}

// finish puts the pack's columns together; a scan beside them wins, because
// it is what the carrier says. Nothing is padded: a code that a spreadsheet
// robbed of its zeros is refused by its length.
func (e *Entry) finish(object map[string]json.RawMessage, pack map[string]string) {
	if text, ok := object["scan"]; ok {
		_ = json.Unmarshal(text, &e.Text) // our own encoding
	} else {
		if pack["scheme"] == "" {
			pack["scheme"] = string(scan.GTIN)
		}
		object["pack"] = doors.Encode(scan.Fields{
			Scheme: pack["scheme"], Code: pack["code"], Serial: pack["serial"], Batch: pack["batch"], Expiry: pack["expiry"],
		})
	}
	e.Draft = doors.FromFields(object)
}
