"""Playing episodes with trained policies, and showing them: as an animation, a video or in the terminal."""

from memorax.experiment.play.episodes import record_episodes
from memorax.experiment.play.film import write_film
from memorax.experiment.play.moments import Episode, Moment

__all__ = ["Episode", "Moment", "record_episodes", "write_film"]
