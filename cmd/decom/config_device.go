package main

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"decom/queue/doors/wwks2"
	"decom/worker"
)

// DeviceConfig is what is known of the scanners of some devices; the first entry that
// matches counts (domain.md sections 5 and 6). decom device calibrate finds it out.
type DeviceConfig struct {
	// Site and Device are patterns, * for any characters. Empty: any.
	Site   string `yaml:"site"`
	Device string `yaml:"device"`
	// Symbology is optional (default), or required: a scan without its identifier (]d2) is
	// then rejected/layout.
	Symbology string `yaml:"symbology"`
	// Separators is raw (default), or how the device writes them: \x1D, {GS}, <GS> or ^.
	Separators string `yaml:"separators"`
	// Keyboard is the host layout that the device was calibrated to: french, belgian, italian
	// or british. Empty (default): none; only what proves itself is repaired.
	Keyboard string `yaml:"keyboard"`
	// Mode says which packs of a robot (doors.wwks2) become scans: goods-in, robot-input or exit.
	// Empty (default): as the door says. Other devices send what is to be a scan.
	Mode string `yaml:"mode"`
}

func (k *checker) devices() {
	for i, d := range k.c.Devices {
		prefix := "devices." + strconv.Itoa(i) + "."
		for _, it := range []struct{ key, value string }{{"site", d.Site}, {"device", d.Device}} {
			if _, err := path.Match(it.value, ""); err != nil || strings.ContainsAny(it.value, "/.") {
				k.bad(prefix+it.key, "%q is no pattern of A-Z a-z 0-9 _ - and *", it.value)
			}
		}
		if d.Symbology != "" {
			k.word(prefix+"symbology", d.Symbology, "optional", "required")
		}
		if d.Separators != "" {
			k.word(prefix+"separators", d.Separators, append([]string{"raw"}, worker.SeparatorStyles[:]...)...)
		}
		if d.Keyboard != "" && !slices.Contains(worker.Keyboards(), d.Keyboard) {
			k.word(prefix+"keyboard", d.Keyboard, worker.Keyboards()...)
		}
		if d.Mode != "" && !slices.Contains(wwks2.Modes(), d.Mode) {
			k.bad(prefix+"mode", "%q: write goods-in (at goods-in, à la réception), robot-input (on robot input, à l'entrée du robot) or exit (at exit, à la sortie)", d.Mode)
		}
	}
}

// profiles are the devices as the worker wants them.
func (c *Config) profiles() worker.Devices {
	list := make(worker.Devices, len(c.Devices))
	for i, d := range c.Devices {
		list[i] = worker.Device{Site: d.Site, Name: d.Device, Symbology: d.Symbology == "required", Separators: d.Separators, Keyboard: d.Keyboard, Mode: d.Mode}
		if d.Separators == "raw" {
			list[i].Separators = ""
		}
	}
	return list
}
