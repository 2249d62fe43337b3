package plugins

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"
)

// credentialsPause is the time between two looks at the files of the
// certificates. A pair that is being written is half there for much less.
const credentialsPause = time.Minute

// watchCredentials tells once of each thing that somebody should do about the
// certificates, and when it is done. They are used as they are at each handshake:
// this only tells before one fails.
func watchCredentials(ctx context.Context, check func() error, pause time.Duration, log *logrus.Entry) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	told := ""
	for {
		text := ""
		err := check()
		if err != nil {
			text = err.Error()
		}
		switch {
		case text == told:
		case err != nil:
			log.WithField("err", err).Warn("etcd's credentials need somebody's attention")
		default:
			log.Info("etcd's credentials are in order again")
		}
		told = text
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
