package httpdoor_test

import (
	"net/http"
	"testing"
)

func conforms(*testing.T, *http.Request, *http.Response, []byte) {}
