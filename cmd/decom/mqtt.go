package main

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"time"

	"decom/queue"
	httpdoor "decom/queue/doors/http"
	"decom/ratelimit"
	"decom/worker/scan"
)

// MQTTDoorConfig is the door for devices that speak MQTT 3.1.1 (go doc ./queue MQTT).
type MQTTDoorConfig struct {
	// Listen is host:port of the embedded NATS server's MQTT listener, opened by decom
	// run; 1883 is usual, 8883 with TLS. Empty (default) = none.
	Listen string `yaml:"listen"`
	// Tokens is the file with the devices' tokens; it may be that of doors.http. A device's
	// user name is SITE/DEVICE and its password the token.
	Tokens string `yaml:"tokens" path:"true"`
	// CertificateFile and KeyFile (PEM) turn TLS on.
	CertificateFile string `yaml:"certificate_file" path:"true"`
	KeyFile         string `yaml:"key_file" path:"true"`
	// Rate is how many scans one connection may send. Default 50/s.
	Rate string `yaml:"rate"`
	// Outside says that devices speak MQTT to the server at nats.url, which has users and
	// listener of its own (README, Doors): lost topics are looked for there, too.
	Outside bool `yaml:"outside"`
}

// on says whether devices speak MQTT.
func (m *MQTTDoorConfig) on() bool { return m.Listen != "" || m.Outside }

func (k *checker) mqttDoor() {
	m := &k.c.Doors.MQTT
	if m.Outside && k.c.NATS.URL == "" {
		k.bad("doors.mqtt.outside", "is for the server at nats.url, and there is none: give doors.mqtt.listen instead")
	}
	if m.Listen != "" && k.c.NATS.URL != "" {
		k.bad("doors.mqtt.listen", "is the embedded NATS server's, and nats.url names another server: open MQTT there (README, Doors) and set doors.mqtt.outside: true")
	}
	k.tokenDoor("doors.mqtt.", tokenDoor{
		listen: m.Listen, tokens: m.Tokens, certificate: m.CertificateFile, key: m.KeyFile, rate: m.Rate,
		taken: map[string]string{"http.listen": k.c.HTTP.Listen, "doors.http.listen": k.c.Doors.HTTP.Listen},
	})
}

// mqttDoor is the embedded server's listener, nil when it is not configured.
func (c *Config) mqttDoor(log *slog.Logger) (*queue.MQTT, error) {
	m := &c.Doors.MQTT
	if m.Listen == "" {
		return nil, nil
	}
	find, err := httpdoor.Secrets(m.Tokens, func(err error) { log.Warn("MQTT: the tokens file cannot be read, those of before count", "err", err) })
	if err != nil {
		return nil, err
	}
	rate, err := ratelimit.ParseRate(m.Rate)
	if err != nil {
		return nil, err
	}
	return &queue.MQTT{Listen: m.Listen, Rate: rate.PerSecond(), CertFile: m.CertificateFile, KeyFile: m.KeyFile, Allow: mqttLogin(find)}, nil
}

// mqttLogin lets a device in whose user name is SITE/DEVICE and whose password is a token
// for that, or for its whole site. The name decides what it may publish to; the token only
// whether it may have that name.
func mqttLogin(find func(secret string) (httpdoor.Principal, bool)) func(user, password string) (site, device string, ok bool) {
	return func(user, password string) (string, string, bool) {
		who, ok := find(password)
		site, device, _ := strings.Cut(user, "/")
		if !ok || site != who.Site || device != who.Device && who.Device != httpdoor.AnyDevice {
			return "", "", false
		}
		return site, device, true
	}
}

// LostTopicStatus is an MQTT topic whose events went nowhere.
type LostTopicStatus struct {
	Topic  string `json:"topic"`            // as the device wrote it
	Device string `json:"device,omitempty"` // SITE/DEVICE that was refused it; empty: events are in DECOM_LOST
	Events uint64 `json:"events"`
}

func (t LostTopicStatus) text() scan.Text {
	if t.Device != "" {
		return tr("MQTT : %d événement(s) de %s refusés et perdus : sujet %q", "MQTT: %d event(s) of %s refused and lost: topic %q", t.Events, t.Device, t.Topic)
	}
	return tr("MQTT : %d événement(s) sous un sujet que personne ne lit : %q", "MQTT: %d event(s) under a topic that nobody takes: %q", t.Events, t.Topic)
}

// lostLines is what people are told of lost topics.
func lostLines(l language, list []LostTopicStatus) (lines []string) {
	for _, t := range list[:min(len(list), lostShown)] {
		lines = append(lines, l.of(t.text()))
	}
	if n := len(list) - lostShown; n > 0 {
		lines = append(lines, l.of(tr("MQTT : et %d autres sujets", "MQTT: and %d topics more", n)))
	}
	return lines
}

func lostTopics(ctx context.Context, conn *queue.Conn) (list []LostTopicStatus, known bool) {
	lost, err := conn.Lost(ctx)
	for _, t := range lost {
		list = append(list, LostTopicStatus(t))
	}
	return list, err == nil
}

// lookForLost tells the log of the first lost topics, each once an hour.
func (p *process) lookForLost(ctx context.Context, told unroutedTold) {
	if !p.cfg.Doors.MQTT.on() {
		return
	}
	list, _ := lostTopics(ctx, p.conn)
	for _, t := range list[:min(len(list), lostShown)] {
		if told.news("mqtt "+t.Device+" "+t.Topic, time.Now()) {
			p.log.Warn("MQTT events are lost: correct the device's topic to decom/scan/SITE/DEVICE", "topic", t.Topic, "device", t.Device, "events", t.Events)
		}
	}
}

// lostShown is how many lost topics people and the log are told; status --json has all.
const lostShown = 10

// mqtt looks at the listener and at what was lost behind it.
func (d *doctor) mqtt(ctx context.Context, conn *queue.Conn) {
	m := &d.cfg.Doors.MQTT
	if !m.on() {
		return
	}
	if m.Listen != "" {
		var dial net.Dialer
		c, err := dial.DialContext(ctx, "tcp", m.Listen)
		if err != nil {
			d.fail("mqtt.listen", m.Listen, tr("aucun appareil ne peut se connecter : %v", "no device can connect: %v", err),
				tr("redémarrer decom run avec cette configuration ; pare-feu ?", "start decom run again with this configuration; a firewall?"))
		} else {
			_ = c.Close()
			d.ok("mqtt.listen", m.Listen, tr("répond", "answers"))
		}
	}
	list, err := conn.Lost(ctx)
	if err != nil {
		d.fail("mqtt.topics", "", tr("%v", "%v", err), tr("voir le journal du serveur", "see the server's log"))
		return
	}
	for _, t := range list[:min(len(list), lostShown)] {
		d.warn("mqtt.topics", t.Device, LostTopicStatus(t).text(),
			tr("corriger le sujet de l'appareil (decom/scan/SITE/APPAREIL), puis lui faire renvoyer ses lectures avec leurs id et at", "correct the device's topic (decom/scan/SITE/DEVICE), then have it send its scans again with their id and at"))
	}
	switch {
	case len(list) > lostShown:
		d.warn("mqtt.topics", "", tr("et %d autres sujets", "and %d topics more", len(list)-lostShown), tr("decom status --json les nomme", "decom status --json names them"))
	case len(list) == 0:
		d.ok("mqtt.topics", "", tr("aucun événement perdu en 7 jours", "no event was lost in 7 days"))
	}
}
