// Package nmvs speaks to the national repository (NMVS) over SOAP 1.2 and
// mutual TLS.
package nmvs
