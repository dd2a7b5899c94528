package files

import (
	"bytes"
	"encoding/csv"
	"errors"
	"os"
	"strconv"

	"decom/queue"
	"decom/worker/scan"
)

// report is the sheet beside a file: a row a line of it, for a spreadsheet of a French
// machine. It holds no serial.
type report struct {
	b        bytes.Buffer
	w        *csv.Writer
	language string

	stored, refused, doubtful int
}

// statuses are the words of the second column.
const (
	statusStored  = "stored"
	statusTwice   = "stored_before"
	statusDoubt   = "stored_will_be_rejected"
	statusRefused = "refused"
	statusFile    = "file"
)

func newReport(language string) *report {
	r := &report{language: language}
	r.b.WriteString("\ufeff") // or Excel reads it as Windows-1252
	r.w = csv.NewWriter(&r.b)
	r.w.Comma, r.w.UseCRLF = ';', true
	r.put("ligne / line", "statut / status", "id", "sequence", "motif / reason", scan.Text{FR: "message", EN: "message"})
	return r
}

func (r *report) put(line, status, id, seq, reason string, text scan.Text) {
	message := text.FR + " / " + text.EN
	switch {
	case r.language == "fr" || text.FR == text.EN:
		message = text.FR
	case r.language == "en":
		message = text.EN
	}
	_ = r.w.Write([]string{line, status, id, seq, reason, message}) // into memory
}

func (r *report) store(ev Event, ack queue.Ack) {
	r.stored++
	status, text := statusStored, scan.Text{FR: "Enregistré.", EN: "Stored."}
	if ack.Duplicate {
		status, text = statusTwice, scan.Text{FR: "Était déjà enregistré.", EN: "Was stored before."}
	}
	r.put(strconv.Itoa(ev.Line), status, ev.ID, strconv.FormatUint(ack.Seq, 10), "", text)
}

// doubt is a scan that is stored and that the line will reject.
func (r *report) doubt(ev Event, ack queue.Ack, reason scan.Reason, text scan.Text) {
	r.stored++
	r.doubtful++
	r.put(strconv.Itoa(ev.Line), statusDoubt, ev.ID, strconv.FormatUint(ack.Seq, 10), string(reason), text)
}

// refuse is a row that is no scan; nothing of it was stored.
func (r *report) refuse(line int, err error) {
	r.refused++
	why := err.Error()
	if m, ok := errors.AsType[*scan.Malformed](err); ok {
		why = m.Error()
	}
	r.put(strconv.Itoa(line), statusRefused, "", "", string(scan.MalformedScan),
		scan.Text{FR: "Cette ligne n'est pas un scan, corrigez-la et renvoyez-la seule : " + why, EN: "This line is no scan, put it right and send it alone: " + why})
}

// whole is a word about the file as a whole.
func (r *report) whole(text scan.Text) { r.put("", statusFile, "", "", "", text) }

// write puts the report in place, all of it or nothing.
func (r *report) write(name string) error {
	r.w.Flush()
	tmp := name + ".tmp"
	if err := os.WriteFile(tmp, r.b.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}
