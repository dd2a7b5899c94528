package main

import (
	"context"
	"net"
	"os"
)

// robots looks whether the robots of doors.wwks2 can be reached, and at what decom run or
// the gateway on this machine could not read. A connection that says nothing disturbs none:
// it is closed before the Hello that the robot would wait for.
func (d *doctor) robots(ctx context.Context) {
	for _, r := range d.cfg.Doors.WWKS2 {
		l := r.listener(&d.cfg.Config)
		on := r.Robot + r.Upstream
		if on == "" {
			continue // the configuration's fault, and told there
		}
		var dial net.Dialer
		c, err := dial.DialContext(ctx, "tcp", on)
		switch {
		case err == nil:
			_ = c.Close()
			d.ok("wwks2.robot", on, tr("répond (%s/%s, mode %s)", "answers (%s/%s, mode %s)", r.Site, r.Device, l.Mode))
		case r.Upstream != "":
			d.fail("wwks2.robot", on, tr("le logiciel de stock qui passe par decom ne l'atteint pas : %v", "the stock system that goes through decom does not reach it: %v", err),
				tr("robot allumé ? adresse doors.wwks2.upstream ? pare-feu ?", "is the robot on? The address doors.wwks2.upstream? A firewall?"))
		default:
			d.fail("wwks2.robot", on, tr("rien n'en est entendu : %v", "nothing of it is heard: %v", err),
				tr("robot allumé ? adresse doors.wwks2.robot ? pare-feu ?", "is the robot on? The address doors.wwks2.robot? A firewall?"))
		}
		if _, err := os.Stat(l.Aside()); err == nil {
			d.warn("wwks2.unread", r.Site+"/"+r.Device, tr("des documents qui parlent de boîtes n'ont pas pu être lus : %s", "documents that tell of packs could not be read: %s", l.Aside()),
				tr("les lire, rapprocher avec le stock, puis ôter le fichier", "read them, reconcile by stock, then take the file away"))
		}
	}
}
