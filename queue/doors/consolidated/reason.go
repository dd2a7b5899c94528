package consolidated

import (
	"fmt"

	"decom/worker/scan"
)

// Reason says why a row is refused: a word of package gs1 (as in outcomes), or one of
// those below. Stable words, also in reports.
type Reason = scan.Reason

// Reasons that only rows of files have.
const (
	ZerosLost   Reason = "zeros_lost"   // leading zeros are gone
	ExcelNumber Reason = "excel_number" // a spreadsheet wrote it as a number: 3,4E+12 or 12.0
	DateFormat  Reason = "date_format"  // a date in a form that tells day and month only by guess
	Twice       Reason = "twice"        // this pack stands in the file already, the same
	Conflict    Reason = scan.Conflict  // it stands there with another batch or expiry
	NoData      Reason = "no_data"      // listed in a container, without batch or expiry
	Deleted     Reason = "deleted"      // the file itself says that it was decommissioned
	BadURI      Reason = "bad_uri"      // no sgtin or Digital Link that can be read
	BadSSCC     Reason = "sscc"         // a container's number with a wrong check digit
)

var texts = map[Reason]scan.Text{
	ZerosLost:   {FR: "Des zéros de tête ont disparu (tableur).", EN: "Leading zeros are lost (a spreadsheet did it)."},
	ExcelNumber: {FR: "Écrit comme un nombre par un tableur : des chiffres ont pu disparaître.", EN: "Written as a number by a spreadsheet: digits may be lost."},
	DateFormat:  {FR: "Date réécrite : le jour et le mois ne se distinguent plus avec certitude. Attendu : AAMMJJ ou AAAA-MM-JJ.", EN: "The date was rewritten: day and month cannot be told apart for certain. Wanted: YYMMDD or YYYY-MM-DD."},
	Twice:       {FR: "Cette boîte figure déjà dans le fichier.", EN: "This pack stands in the file already."},
	Conflict:    {FR: "Cette boîte figure dans le fichier avec un autre lot ou une autre péremption ; aucune des deux lignes n'est retenue.", EN: "This pack stands in the file with another batch or expiry; neither row is kept."},
	NoData:      {FR: "Boîte listée dans un contenant, sans lot ni péremption.", EN: "Listed in a container, without batch and expiry."},
	Deleted:     {FR: "Le fichier dit lui-même que cette boîte a été désactivée.", EN: "The file itself says that this pack was decommissioned."},
	BadSSCC:     {FR: "La clé de contrôle du numéro de contenant (SSCC) est fausse.", EN: "The check digit of the container's number (SSCC) is wrong."},
	BadURI:      {FR: "Identifiant illisible (ni sgtin, ni Digital Link).", EN: "The identifier cannot be read (neither sgtin nor Digital Link)."},
}

// Text is the sentence for a refused row.
func Text(r Reason) scan.Text {
	if t, ok := texts[r]; ok {
		return t
	}
	return scan.Message(scan.Supply, scan.Rejected, r)
}

// Problem is what a person must act on, in both languages.
type Problem struct{ Text scan.Text }

// Error is the English sentence.
func (p *Problem) Error() string { return p.Text.EN }

// problem makes a Problem; the values stand in both sentences.
func problem(fr, en string, args ...any) error {
	return &Problem{scan.Text{FR: fmt.Sprintf(fr, args...), EN: fmt.Sprintf(en, args...)}}
}
