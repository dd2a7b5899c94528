package main

import (
	"strings"

	"decom/queue"
	"decom/worker/scan"
)

// noDevice says whether a key of [queue.Conn.Unrouted] is a subject that names no device.
func noDevice(key string) bool { return strings.HasPrefix(key, queue.NoDevice("")) }

// unroutedText is what people are told of n scans that reach no account.
func unroutedText(key string, n uint64) scan.Text {
	if noDevice(key) {
		return tr("%d scans sous %s : le sujet ne nomme aucun appareil, personne ne les reçoit", "%d scans on %s: the subject names no device, nobody gets them", n, key)
	}
	return tr("%d scans du site %s : aucun compte ne le nomme", "%d scans of site %s: no account names it", n, key)
}
