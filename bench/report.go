package bench

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"decom/worker/scan"
)

// web holds uPlot 1.6.32 as npm delivers it (MIT, uPlot.LICENSE) and our own page.
//
//go:embed web
var web embed.FS

// page is what the template sees.
type page struct {
	Lang    string
	Result  *Result
	UPlot   template.JS
	License string
	Style   template.CSS
	UStyle  template.CSS
	Script  template.JS
	Data    template.JS // JSON of Result
	Words   template.JS // JSON of the charts' words
	Notes   []string
	Summary []string
	Verdict Verdict

	french  bool
	printer *message.Printer
}

// T picks the sentence in the page's language.
func (p *page) T(fr, en string) string {
	if p.french {
		return fr
	}
	return en
}

// Num prints a number as the language writes it: three significant figures, no decimals
// from 100 on.
func (p *page) Num(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100:
		return p.printer.Sprintf("%.0f", v)
	case a >= 10:
		return p.printer.Sprintf("%.1f", v)
	default:
		return p.printer.Sprintf("%.2f", v)
	}
}

// Mul multiplies, for units.
func (p *page) Mul(a, b float64) float64 { return a * b }

// Inc counts from 1.
func (p *page) Inc(i int) int { return i + 1 }

// MiB is bytes in mebibytes.
func (p *page) MiB(n int64) string { return p.Num(float64(n) / (1 << 20)) }

// Date is when the run began.
func (p *page) Date() string { return p.Result.Began.Format(time.RFC3339) }

// Command is the command line as it was given.
func (p *page) Command() string { return strings.Join(p.Result.Command, " ") }

// KV prints a map's keys and values.
func (p *page) KV(m map[string]string) string {
	text := fmt.Sprint(m)
	return strings.TrimSuffix(strings.TrimPrefix(text, "map["), "]")
}

// words are the charts' texts; keys are those of report.js.
var words = map[string]scan.Text{
	"seconds":   {FR: "secondes", EN: "seconds"},
	"done":      {FR: "résultats/s", EN: "outcomes/s"},
	"meant":     {FR: "scans voulus/s", EN: "scans intended/s"},
	"quota":     {FR: "quota du NMVS", EN: "NMVS's quota"},
	"backlog":   {FR: "en attente", EN: "backlog"},
	"doubt":     {FR: "tentatives ouvertes sans envoyeur", EN: "open attempts without a sender"},
	"flight":    {FR: "en vol", EN: "in flight"},
	"accepted":  {FR: "appels acceptés/s", EN: "calls accepted/s"},
	"refused":   {FR: "appels « trop vite »/s", EN: "calls \"too fast\"/s"},
	"limit":     {FR: "limite du worker", EN: "worker's limit"},
	"percent":   {FR: "centile", EN: "percentile"},
	"ms":        {FR: "ms", EN: "ms"},
	"round":     {FR: "tour", EN: "round"},
	"rate":      {FR: "boîtes/s (médiane)", EN: "packs/s (median)"},
	"least":     {FR: "au moins", EN: "least"},
	"most":      {FR: "au plus", EN: "most"},
	"knee":      {FR: "coude", EN: "knee"},
	"open":      {FR: "disjoncteur ouvert", EN: "breaker open"},
	"half_open": {FR: "disjoncteur entrouvert", EN: "breaker half-open"},
}

// report makes the one-file page.
func (r *Result) report(french bool) ([]byte, error) {
	lang, tag := "en", language.English
	if french {
		lang, tag = "fr", language.French
	}
	read := func(name string) string {
		text, err := web.ReadFile("web/" + name)
		if err != nil {
			panic(err) // it is part of the program
		}
		return string(text)
	}
	p := &page{Lang: lang, Result: r, Verdict: r.Verdict(), french: french, printer: message.NewPrinter(tag),
		UPlot: template.JS(read("uPlot.iife.min.js")), UStyle: template.CSS(read("uPlot.min.css")), License: read("uPlot.LICENSE"),
		Style: template.CSS(read("report.css")), Script: template.JS(read("report.js"))}
	for _, n := range r.Notes {
		p.Notes = append(p.Notes, p.T(noteText(n).FR, noteText(n).EN))
	}
	for _, line := range r.Summary()[len(r.Notes):] { // the notes stand above
		p.Summary = append(p.Summary, p.T(line.FR, line.EN))
	}
	data, err := json.Marshal(r) // escapes < and >, so that it cannot end the script
	if err != nil {
		return nil, err
	}
	texts := map[string]string{}
	for key, t := range words {
		texts[key] = p.T(t.FR, t.EN)
	}
	said, err := json.Marshal(texts)
	if err != nil {
		return nil, err
	}
	p.Data, p.Words = template.JS(data), template.JS(said)
	t, err := template.New("report.html").Parse(read("report.html"))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, p); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
