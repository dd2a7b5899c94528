package main

import (
	"net"
	"time"

	httpdoor "decom/queue/doors/http"
	"decom/ratelimit"
)

// DoorsConfig opens doors for senders that do not speak NATS. Each door that is
// configured is open in decom run, and in decom gateway.
type DoorsConfig struct {
	HTTP HTTPDoorConfig `yaml:"http"`
}

// HTTPDoorConfig is the door for senders that speak HTTP (go doc ./queue/doors/http).
type HTTPDoorConfig struct {
	// Listen is host:port, beside http.listen. Empty (default) = no such door.
	Listen string `yaml:"listen"`
	// Tokens is the file with the devices' tokens; decom gateway token makes one.
	Tokens string `yaml:"tokens" path:"true"`
	// CertificateFile and KeyFile (PEM) turn TLS on. Empty: none, which is for the
	// loopback address and for a proxy in front.
	CertificateFile string `yaml:"certificate_file" path:"true"`
	KeyFile         string `yaml:"key_file" path:"true"`
	// Rate is how many scans one device may send. Default 50/s.
	Rate string `yaml:"rate"`
	// MaxBody is the size of one request in bytes. Default 1048576.
	MaxBody int `yaml:"max_body"`
	// Patience is how long the stream's acknowledgement is waited for. Default 5 s.
	Patience time.Duration `yaml:"patience"`
}

// defaultDoors is what counts where no layer says otherwise.
func defaultDoors() DoorsConfig {
	return DoorsConfig{HTTP: HTTPDoorConfig{Rate: "50/s", MaxBody: 1 << 20, Patience: 5 * time.Second}}
}

// open says whether any door is configured.
func (d *DoorsConfig) open() bool { return d.HTTP.Listen != "" }

// doors checks the section. Files are looked at by those who are going to open doors.
func (k *checker) doors() {
	h := &k.c.Doors.HTTP
	if _, err := ratelimit.ParseRate(h.Rate); err != nil {
		k.bad("doors.http.rate", "%v", err)
	}
	if h.MaxBody < 64<<10 || h.MaxBody > 64<<20 {
		k.bad("doors.http.max_body", "%d: must be 65536 to 67108864 bytes; one event may have 65536", h.MaxBody)
	}
	if h.Patience <= 0 {
		k.bad("doors.http.patience", "%s: must be more than 0", plainDuration(h.Patience))
	}
	if (h.CertificateFile == "") != (h.KeyFile == "") {
		k.bad("doors.http.key_file", "certificate_file and key_file go together: give both or none")
	}
	if h.Listen == "" {
		return
	}
	k.address("doors.http.listen", h.Listen)
	if _, port, _ := net.SplitHostPort(h.Listen); h.Listen == k.c.HTTP.Listen && port != "0" {
		k.bad("doors.http.listen", "%q is http.listen already: give the door a port of its own", h.Listen)
	}
	if h.Tokens == "" {
		k.bad("doors.http.tokens", "is missing: make the file with decom gateway token --file FILE --site SITE --device DEVICE")
	}
	if h.CertificateFile == "" && !loopbackAddress(h.Listen) {
		k.warn("doors.http.listen %s without certificate_file: tokens and serials cross the network in the clear", h.Listen)
	}
	if k.need&needDoors == 0 {
		return
	}
	k.file("doors.http.certificate_file", h.CertificateFile)
	k.file("doors.http.key_file", h.KeyFile)
	if k.file("doors.http.tokens", h.Tokens) {
		if err := httpdoor.CheckTokens(h.Tokens); err != nil {
			k.bad("doors.http.tokens", "%v", err)
		}
	}
}

// httpDoorConfig is the door's part of a loaded configuration.
func (c *Config) httpDoorConfig() (httpdoor.Config, error) {
	h := c.Doors.HTTP
	rate, err := ratelimit.ParseRate(h.Rate)
	return httpdoor.Config{
		Listen: h.Listen, TokensFile: h.Tokens, CertFile: h.CertificateFile, KeyFile: h.KeyFile,
		Rate: rate, MaxBody: int64(h.MaxBody), Patience: h.Patience,
	}, err
}
