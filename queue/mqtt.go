package queue

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"decom/worker/scan"

	"github.com/nats-io/nats-server/v2/server"
)

// MQTT opens the embedded server's own MQTT 3.1.1 listener. Topic
// decom/scan/SITE/DEVICE is subject decom.scan.SITE.DEVICE, decom/outcome/SITE/DEVICE
// its outcomes. A device may publish and hear its own topic and nothing else. A session that
// stays and subscribed with QoS 1 is told every outcome, whether it listens or not.
//
// A PUBACK says that the server has read the message, not that DECOM_SCANS took it, nor
// that the topic was allowed: what did not get there is in DECOM_LOST ([Conn.Lost]).
type MQTT struct {
	// Listen is HOST:PORT; port 0 takes any. Required.
	Listen string

	// Allow says whom a login speaks for: the user name as the device sent it, and its
	// password. device may be [AnyDevice]. It is called for each connection, from any
	// goroutine, and must not block for long. Required.
	Allow func(user, password string) (site, device string, ok bool)

	// CertFile and KeyFile (PEM) turn TLS on. Empty: none, for the loopback address or a
	// network that is trusted with passwords and serials.
	CertFile, KeyFile string

	// Rate is how many publishes a second one connection may make; more wait in its socket.
	// Default 50, with 20 saved up.
	Rate float64
}

// AnyDevice is the device of a login that speaks for its whole site.
const AnyDevice = "*"

func (m *MQTT) validate() error {
	if m == nil {
		return nil
	}
	var errs []error
	if _, _, err := net.SplitHostPort(m.Listen); err != nil {
		errs = append(errs, fmt.Errorf("mqtt.listen: %w", err))
	}
	if m.Rate < 0 {
		errs = append(errs, fmt.Errorf("mqtt: rate %v is negative", m.Rate))
	}
	if m.Allow == nil {
		errs = append(errs, errors.New("mqtt: nobody says who may connect"))
	}
	if (m.CertFile == "") != (m.KeyFile == "") {
		errs = append(errs, errors.New("mqtt: a certificate without its key, or a key without its certificate"))
	}
	return errors.Join(errs...)
}

// rate is Rate with its default.
func (m *MQTT) rate() float64 {
	if m.Rate == 0 {
		return 50
	}
	return m.Rate
}

// options puts the server's own listener, behind the pacer, into the embedded server's options.
func (m *MQTT) options(opts *server.Options) {
	opts.MQTT.Host, opts.MQTT.Port = "127.0.0.1", server.RANDOM_PORT
	opts.MQTT.ConsumerInactiveThreshold = mqttKept
	opts.CustomClientAuthentication = mqttGate{m.Allow}
}

// mqttGate lets NATS clients in as ever (only loopback addresses listen, see
// Config.Listen) and asks MQTT clients who they are.
type mqttGate struct {
	allow func(user, password string) (site, device string, ok bool)
}

// Check implements the server's authentication. Which protocol a client speaks it does not
// tell; but every NATS library names its language in CONNECT, and an MQTT client has no way
// to. So what names none is taken as a device: a mistake takes rights away and gives none.
func (g mqttGate) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	if o.Lang != "" {
		return true
	}
	site, device, ok := g.allow(o.Username, o.Password)
	if !ok || !scan.ValidToken(site) || device != AnyDevice && !scan.ValidToken(device) {
		return false
	}
	c.RegisterUser(&server.User{Username: site + "/" + device, Permissions: devicePermissions(site, device)})
	return true
}

// devicePermissions lets a device publish its scans and hear its outcomes. The topics of
// DECOM_LOST are allowed as well, so that a misspelt one is kept with its event; anything
// else the server drops, and [Conn] notes that in DECOM_LOST.
func devicePermissions(site, device string) *server.Permissions {
	own := site + "." + device
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: append([]string{scanPrefix + own}, misspelt...)},
		// $MQTT.sub is where the server itself delivers a QoS 1 subscription; a client
		// cannot subscribe to it.
		Subscribe: &server.SubjectPermission{Allow: []string{outcomePrefix + own, "$MQTT.sub.>"}},
	}
}

// MQTTAddress returns where devices reach the embedded server by MQTT, or "".
func (c *Conn) MQTTAddress() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.emb == nil || c.emb.mqtt == nil {
		return ""
	}
	return c.emb.mqtt.ln.Addr().String()
}

// topic is an MQTT topic as the device wrote it, out of the subject that the server made
// of it: a dot becomes //, and an empty level a / of its own.
func topic(subject string) string {
	return strings.NewReplacer("//", ".", "/.", "/", "./", "/", ".", "/").Replace(subject)
}
