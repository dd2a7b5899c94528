package httpdoor

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"time"

	"decom/queue/doors"
	"decom/worker/scan"
)

// item is one scan of a request, or why it is none.
type item struct {
	draft doors.Draft
	fault *scan.Malformed
}

// form is how a body is read.
type form int

const (
	guessed form = iota // by its first character
	asJSON              // one value: an object, an array, a string
	asLines             // JSON lines
	asText              // barcode lines, as decom publish reads them
)

// formOf finds out how the body is meant; false: it is something else.
func formOf(r *http.Request) (form, bool) {
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return 0, false
	}
	given := r.Header.Get("Content-Type")
	if given == "" {
		return guessed, true
	}
	media, _, err := mime.ParseMediaType(given)
	if err != nil {
		return 0, false
	}
	switch media {
	case "application/json", "application/cloudevents+json", "application/cloudevents-batch+json":
		return asJSON, true
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/json-lines":
		return asLines, true
	case "text/plain":
		return asText, true
	case "application/x-www-form-urlencoded", "application/octet-stream":
		return guessed, true // what curl and simple devices say when nobody told them anything
	}
	return 0, false
}

// readBody reads at most cfg.MaxBody bytes before the request's read
// deadline. After a failure that stays: the server reads on for what is left of a body
// before it sends the answer.
func readBody(w http.ResponseWriter, r *http.Request, cfg Config) ([]byte, *Problem) {
	if r.ContentLength > cfg.MaxBody {
		return nil, tooLarge.problem(r, "")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, cfg.MaxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return nil, tooLarge.problem(r, "")
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, tooSlow.problem(r, "")
	}
	if err != nil {
		return nil, badBody.problem(r, "")
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // what follows takes the time it takes
	return body, nil
}

// split makes items of a body. many says that the answer is a list: the sender sent one.
func split(f form, body []byte) (items []item, many bool, fault error) {
	head := bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\ufeff")), " \t\r\n")
	switch {
	case f == guessed && bytes.HasPrefix(head, []byte("{")) && !json.Valid(head):
		f = asLines // perhaps: each line is judged
	case f == guessed && (bytes.HasPrefix(head, []byte("{")) || bytes.HasPrefix(head, []byte("[")) && !bytes.HasPrefix(head, []byte("[)>"))):
		f = asJSON // [)> begins an ISO 15434 envelope, which is a barcode
	case f == guessed:
		f = asText
	}
	if f == asJSON {
		return splitJSON(head)
	}
	for line := range bytes.Lines(bytes.TrimPrefix(body, []byte("\ufeff"))) {
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if len(line) == 0 || f == asLines && len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var it item
		if f == asLines {
			it.draft, it.fault = doors.FromJSON(line)
		} else {
			it.draft, _, it.fault = doors.FromLine(line)
		}
		items = append(items, it)
	}
	return items, f == asLines || len(items) > 1, nil
}

func splitJSON(body []byte) (items []item, many bool, fault error) {
	if !bytes.HasPrefix(body, []byte("[")) {
		if len(body) == 0 {
			return nil, false, nil
		}
		d, fault := doors.FromJSON(body)
		return []item{{d, fault}}, false, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, true, err
	}
	for _, raw := range list {
		d, fault := doors.FromJSON(raw)
		items = append(items, item{d, fault})
	}
	return items, true, nil
}
