package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"decom/queue/doors"
	"decom/worker"
	"decom/worker/ledger"
	"decom/worker/scan"
)

func newDeviceCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "device",
		Short: a.text("Lecteurs : étalonnage, retenue", "Scanners: calibration, withholding"),
		Long: a.text(`Un lecteur dont les alertes et les lectures rejetées s'écartent de celles des autres lecteurs du compte est
retenu par les workers, lui seul : rien de nouveau n'en est envoyé. calibrate dit quel réglage corriger ;
ensuite : decom device free.`,
			`A device whose alerts and rejected scans depart from those of the account's other devices is
withheld by the workers, it alone: nothing new of it is sent. calibrate tells which setting to
correct; then: decom device free.`),
		Args: cobra.ArbitraryArgs,
		RunE: groupArgs,
	}
	c.AddCommand(newDeviceCalibrate(a), newWithholdCommand(a, ledger.ScopeDevice), newFreeCommand(a, ledger.ScopeDevice), newWithheldLs(a, ledger.ScopeDevice))
	return c
}

type calibrateFlags struct {
	site, device, code string
	json               bool
}

func newDeviceCalibrate(a *app) *cobra.Command {
	var f calibrateFlags
	c := &cobra.Command{
		Use:   "calibrate",
		Short: a.text("Trouver ce qu'un lecteur change aux codes, et quel réglage corriger", "Find out what a scanner changes, and which setting to correct"),
		Long: a.text(`Affiche le contenu d'un code d'essai, en lit une lecture sur l'entrée standard, et dit ce que le lecteur et
le clavier du poste en ont fait : disposition, casse, identifiant de symbologie, séparateurs, préfixe,
suffixe ; quel réglage du lecteur changer, et le profil (configuration, « devices ») avec lequel il peut
servir en attendant.

Imprimer le code d'essai en Data Matrix GS1 avec n'importe quel logiciel d'étiquettes. --code TEXTE est le
contenu d'un autre code sous la main, comme « (01)03400930000007(21)7X4F8L2(17)281100(10)LOT42 », dans
l'ordre où il est encodé ; moins il a de caractères différents, moins il prouve. Rien n'est envoyé nulle
part. Code de sortie 99 : les réglages du lecteur doivent changer.`,
			`Show the content of a test code, read one scan of it from standard input, and tell
what the scanner and the host's keyboard did to it: layout, case, symbology
identifier, separators, prefix, suffix; which setting of the scanner to change, and
the profile (configuration, "devices") with which it can be used meanwhile.

Print the test code as a GS1 Data Matrix with any label program. --code TEXT is the
content of another code at hand, as in "(01)03400930000007(21)7X4F8L2(17)281100(10)LOT42",
in the order in which it is encoded; the fewer different characters it has, the less
it proves. Nothing is sent anywhere. Exit code 99: the scanner's settings must change.`),
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.calibrate(f) },
	}
	c.Flags().StringVar(&f.site, "site", "", "site, for the profile that is printed")
	c.Flags().StringVar(&f.device, "device", "", "device, for the profile that is printed")
	c.Flags().StringVar(&f.code, "code", "", "content of the code that is scanned, bracketed `text`")
	c.Flags().BoolVar(&f.json, "json", false, "one JSON object")
	return c
}

func (a *app) calibrate(f calibrateFlags) error {
	sent := worker.CalibrationCode
	if f.code != "" {
		var err error
		if sent, err = elementString(f.code); err != nil {
			return err
		}
	}
	if !f.json {
		a.sayf("Imprimez ce contenu en Data Matrix GS1 (<GS> : le caractère FNC1/GS), puis scannez-le ici :", "Print this content as a GS1 Data Matrix (<GS>: the FNC1/GS character), then scan it here:")
		fmt.Fprintln(a.stdout, "  "+strings.ReplaceAll(strings.TrimPrefix(sent, "]d2"), "\x1d", "<GS>"))
	}
	line, err := bufio.NewReader(io.LimitReader(a.stdin, scan.MaxEvent)).ReadString('\n')
	if err != nil && (!errors.Is(err, io.EOF) || line == "") {
		return errors.New(a.text("aucun scan n'est arrivé", "no scan arrived"))
	}
	c := worker.Calibrate(sent, doors.UTF8([]byte(strings.TrimRight(line, "\r\n"))))
	if f.json {
		if err := a.printJSON(struct {
			worker.Calibration
			Profile string `json:"profile,omitempty"`
		}{c, profileLine(f, c.Profile)}); err != nil {
			return err
		}
	} else {
		a.tellCalibration(f, c)
	}
	if !c.OK {
		return exitWith(exitThreshold, errors.New(a.text("les réglages du lecteur sont à changer", "the scanner's settings must change")))
	}
	return nil
}

func (a *app) tellCalibration(f calibrateFlags, c worker.Calibration) {
	if c.OK {
		a.sayf("Le lecteur est bien réglé : rien à changer.", "The scanner is set as it should be: nothing to change.")
		return
	}
	for _, advice := range c.Advice {
		fmt.Fprintln(a.stdout, "- "+a.lang.of(advice.Text))
	}
	if c.Profile == nil {
		a.say(scan.Text{FR: "Ne vous en servez pas avant : un code déformé pourrait passer pour celui d'une autre boîte.", EN: "Do not use it before that: a mangled code might pass for another pack's."})
		return
	}
	a.say(scan.Text{FR: "En attendant, ce profil le rend utilisable, sur ce poste seulement (configuration, devices) :", EN: "Meanwhile this profile makes it usable, on this host only (configuration, devices):"})
	fmt.Fprintln(a.stdout, "  "+profileLine(f, c.Profile))
}

// profileLine is the profile as an entry of the configuration.
func profileLine(f calibrateFlags, d *worker.Device) string {
	if d == nil {
		return ""
	}
	parts := []string{"symbology: required"}
	if d.Separators != "" {
		parts = append(parts, "separators: '"+d.Separators+"'")
	}
	if d.Keyboard != "" {
		parts = append(parts, "keyboard: "+d.Keyboard)
	}
	for _, it := range []struct{ key, value string }{{"device", f.device}, {"site", f.site}} {
		if it.value != "" {
			parts = append([]string{it.key + ": " + it.value}, parts...)
		}
	}
	return "- {" + strings.Join(parts, ", ") + "}"
}

// elementString writes bracketed text as it is encoded.
func elementString(text string) (string, error) {
	bad := spokenUsagef("--code %q : donner le texte avec parenthèses, comme (01)03400930000007(21)7X4F8L2(17)281100(10)LOT42",
		"--code %q: wants bracketed text, as (01)03400930000007(21)7X4F8L2(17)281100(10)LOT42", text)
	if !strings.HasPrefix(text, "(") {
		return "", bad
	}
	out, open := "]d2", false
	for element := range strings.SplitSeq(text[1:], "(") {
		ai, value, ok := strings.Cut(element, ")")
		if !ok || value == "" || len(ai) < 2 || strings.Trim(ai, "0123456789") != "" {
			return "", bad
		}
		if open {
			out += "\x1d"
		}
		out += ai + value
		open = ai != "01" && ai != "17" && ai != "11" // of variable length: ends with a separator, unless it is the last
	}
	return out, nil
}
