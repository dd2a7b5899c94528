package worker

import (
	"decom/worker/gs1"
	"decom/worker/scan"
)

// CalibrationCode is what a device scans to be calibrated: a made-up pack and, in AI 91,
// every character that a serial may hold. GS stands as the control character.
const CalibrationCode = gs1.TestCode

// Advice is one thing to change at a scanner.
type Advice struct {
	Word string    `json:"word"` // stable: layout, identifier, case, separator, prefix, suffix, unknown
	Text scan.Text `json:"message"`
}

// Calibration is what a device does to a known code, and what to do about it.
type Calibration struct {
	OK      bool     `json:"ok"`
	Layout  string   `json:"layout,omitempty"` // host layout found
	Advice  []Advice `json:"advice"`
	Profile *Device  `json:"-"` // with which the device can be used as it is; nil: it cannot, or needs none
}

// hosts names layouts in both languages.
var hosts = map[string]scan.Text{
	"french": {FR: "français (AZERTY)", EN: "French (AZERTY)"}, "belgian": {FR: "belge (AZERTY)", EN: "Belgian (AZERTY)"},
	"british": {FR: "britannique", EN: "British"}, "italian": {FR: "italien", EN: "Italian"}, "german": {FR: "allemand (QWERTZ)", EN: "German (QWERTZ)"},
	"spanish": {FR: "espagnol", EN: "Spanish"}, "nordic": {FR: "nordique", EN: "Nordic"}, "hungarian": {FR: "hongrois", EN: "Hungarian"}, "czech": {FR: "tchèque", EN: "Czech"},
}

// Calibrate compares what a device sent with the code that it scanned.
func Calibrate(sent, arrived string) Calibration {
	f := gs1.Calibrate(sent, arrived)
	c := Calibration{OK: f.OK(), Layout: f.Layout, Advice: []Advice{}}
	say := func(word, fr, en string) { c.Advice = append(c.Advice, Advice{word, scan.Text{FR: fr, EN: en}}) }
	if f.Layout != "" {
		host, known := hosts[f.Layout]
		if !known {
			host = scan.Text{FR: f.Layout, EN: f.Layout}
		}
		say("layout", "Le lecteur tape comme un clavier américain sur un poste réglé en "+host.FR+" : dans ses réglages, choisissez le pays de clavier « "+host.FR+" » (Keyboard Country), ou le mode port COM virtuel.",
			"The scanner types as a US keyboard into a host set to "+host.EN+": in the scanner's settings choose the keyboard country \""+host.EN+"\", or the virtual COM port mode.")
	}
	if f.Case {
		say("case", "Majuscules et minuscules sont inversées : ôtez le verrouillage majuscule du poste, et désactivez « Caps Lock » dans le lecteur.",
			"Upper and lower case are swapped: switch Caps Lock off at the host, and the scanner's Caps Lock setting, too.")
	}
	if f.NoID {
		say("identifier", "Le lecteur n'envoie pas l'identifiant de symbologie : activez « Transmit AIM Code ID » (]d2 doit précéder le code).",
			"The scanner does not send the symbology identifier: switch \"Transmit AIM Code ID\" on (]d2 must stand before the code).")
	}
	switch f.Separator {
	case "":
	case "missing":
		say("separator", "Les séparateurs sont perdus : activez la transmission de FNC1/GS en caractère ASCII 29 (Control Characters, Function Key Mapping).",
			"The separators are lost: have FNC1/GS transmitted as ASCII character 29 (control characters, function key mapping).")
	default:
		say("separator", "Les séparateurs arrivent écrits « "+f.Separator+" » : réglez GS sur le caractère ASCII 29, ou gardez-les ainsi avec le profil ci-dessous.",
			"The separators arrive written as "+f.Separator+": set GS to ASCII character 29, or keep them with the profile below.")
	}
	if f.Prefix != "" {
		say("prefix", "Le lecteur ajoute un préfixe : supprimez-le.", "The scanner adds a prefix: remove it.")
	}
	if f.Suffix != "" {
		say("suffix", "Le lecteur ajoute un suffixe autre que Entrée : supprimez-le.", "The scanner adds a suffix other than Enter: remove it.")
	}
	if !f.Known {
		say("unknown", "Ce qui arrive ne s'explique pas par un réglage connu (ou un autre code a été lu) : remettez le lecteur en réglage d'usine, activez l'identifiant AIM, et recommencez.",
			"What arrives is explained by no known setting (or another code was scanned): reset the scanner to factory settings, switch the AIM identifier on, and try again.")
	}
	c.profile(&f)
	return c
}

// profile is the one that makes the device usable as it is. A device without identifier,
// separators or case has none.
func (c *Calibration) profile(f *gs1.Finding) {
	if !f.Known || c.OK || f.NoID || f.Case || f.Prefix != "" || f.Suffix != "" || f.Separator == "missing" {
		return
	}
	d := Device{Symbology: true, Separators: f.Separator}
	if f.Layout != "" {
		if f.Keyboard == gs1.KeyboardNone || f.Separator != "" { // a written separator is mangled, too
			return
		}
		d.Keyboard = f.Layout
	}
	c.Profile = &d
}
