"""Films of trained policies."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from empo_rllib.algorithms.setup import open_checked_env
from empo_rllib.config.sections import EnvConfig
from empo_rllib.console import Tell
from empo_rllib.errors import EnvError
from empo_rllib.experiment.checkpoints import Which
from empo_rllib.experiment.run_folder import TrainedTrial
from empo_rllib.results.evaluate import check_protocol
from empo_rllib.results.film import Frame, check_film, write_film
from empo_rllib.results.find import find_trained
from empo_rllib.results.settings import resolve_greedy
from empo_rllib.seeding import repeatable

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from empo_rllib.acting.play import LiveEpisode
    from empo_rllib.acting.teams import ActingPolicies
    from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
    from empo_rllib.results.captions import Caption, Colour, Layout

_LOG = logging.getLogger(__name__)

# In a grid world every step is a decision to look at.
GRID_FPS = 5.0
OTHER_FPS = 15.0
HOLD_LAST_S = 1.5
_SHOWN_NUMBERS = 4


def record(
    run_or_checkpoint: str | Path | TrainedTrial,
    out: str | Path,
    episodes: int = 3,
    seed: int = 0,
    greedy: bool | None = None,
    fps: float | None = None,
    tell: Tell = lambda text: None,
    checkpoint: Which = "last",
) -> int:
    """Films episodes of trained policies, with a caption that explains each picture.

    The same arguments give the same film. The file appears when it is complete.

    Args:
        run_or_checkpoint: A run folder (its best trial), a trial or a checkpoint.
        out: The file, whose suffix .gif or .mp4 says the format; replaced if it exists.
        episodes: How many, each to its end or to `FILM_LIMIT` env steps.
        seed: Episode i is played on an environment reset with `seed + i`.
        greedy: Take the most likely actions; otherwise draw them as in training. None: draw them
            where the policies are stochastic; DQN takes the best.
        fps: Env steps per second; None: 5 for MultiGrid, what the environment's metadata says
            for others, 15 if that is nothing.
        tell: Is told which episode is recorded.
        checkpoint: Which checkpoint of a trial is filmed.

    Returns:
        The number of frames.

    Raises:
        ConfigError: an argument has an impossible value, or what the experiment needs is gone.
        EnvError: the environment draws no pictures.
        RunError: there is no run folder, trial or checkpoint.
        CheckpointError: the checkpoint is damaged.
    """
    out = Path(out).expanduser()
    check_protocol(episodes, seed)
    check_film(out, fps)
    trained = find_trained(run_or_checkpoint, checkpoint)

    from empo_rllib.results.load import load_policies

    greedy = resolve_greedy(greedy, [trained.config])
    policies = load_policies(trained)
    about = describe(trained, greedy)
    with repeatable(seed):
        env = build_filmed_env(trained.config.env)
        try:
            fps = fps or default_fps(env)
            camera = Camera(env, about)
            frames = _film(policies, camera, range(seed, seed + episodes), greedy, fps, tell)
            return write_film(frames, out, fps)
        finally:
            env.close()


def build_filmed_env(env: EnvConfig) -> ParallelMultiAgentEnv:
    """Makes an experiment's environment with pictures.

    Raises:
        EnvError: it cannot be made, or not with pictures.
    """
    try:
        return open_checked_env(env, render_mode="rgb_array")
    except EnvError as error:
        raise EnvError(f"{env.id} cannot be filmed with render_mode rgb_array: {error}") from error


def default_fps(env: ParallelMultiAgentEnv) -> float:
    """Returns the env steps per second that a film of `env` shows."""
    from empo_rllib.results.film import MAX_FPS

    if _grid_agents(env):
        return GRID_FPS
    return min(float(env.metadata.get("render_fps") or OTHER_FPS), MAX_FPS)


def describe(trained: TrainedTrial, greedy: bool) -> list[str]:
    """Returns what films say of a checkpoint: its environment, and where its policies are from.

    Args:
        trained: The checkpoint.
        greedy: How its policies act.
    """
    config = trained.config
    return [
        f"{config.env.id}, {config.algorithm.name} with {'most likely' if greedy else 'sampled'} "
        "actions",
        f"Run {trained.run.name}, {trained.trial.trial_id}, {trained.checkpoint.name}",
    ]


def _film(
    policies: ActingPolicies,
    camera: Camera,
    seeds: range,
    greedy: bool,
    fps: float,
    tell: Tell,
) -> Iterator[Frame]:
    from empo_rllib.acting.play import LiveEpisode, act_in
    from empo_rllib.envs.step_limit import FILM_LIMIT, cut_limit

    limit = cut_limit(camera.env.env, FILM_LIMIT)
    for number, seed in enumerate(seeds, start=1):
        tell(f"Recording episode {number} of {len(seeds)}")
        episode = LiveEpisode(camera.env, seed, limit)
        title = f"Episode {number} of {len(seeds)} (seed {seed})"
        while True:
            frame = camera.draw(title, episode)
            if episode.over:
                yield Frame(frame, repeat=max(1, round(HOLD_LAST_S * fps)))
                break
            yield Frame(frame)
            act_in([episode], policies, greedy)
        if episode.cut:
            _LOG.warning("%s did not end and was cut after %s env steps.", title, f"{limit:,}")


class Camera:
    """Draws an environment's episodes, in the same layout all along.

    Args:
        env: Made by `build_filmed_env`.
        about: Paragraphs that stand above each caption.
    """

    def __init__(self, env: ParallelMultiAgentEnv, about: Sequence[str]) -> None:
        self.env = env
        self._about = about
        self._layout: Layout | None = None

    def draw(self, title: str, episode: LiveEpisode) -> Image.Image:
        """Returns what the environment looks like now, with a caption.

        Args:
            title: What the episode is called.
            episode: The environment's present episode.

        Raises:
            EnvError: the environment draws no picture.
        """
        from empo_rllib.results.captions import Layout

        picture = _render(self.env)
        if self._layout is None:
            agents = self.env.possible_agents
            coloured = bool(_grid_agents(self.env))
            size = (picture.shape[1], picture.shape[0])
            longest = _longest_action(self.env)
            self._layout = Layout(size, agents, coloured, longest, self._about)
        return self._layout.draw(picture, _caption(title, episode))


def _render(env: ParallelMultiAgentEnv) -> np.ndarray:
    from empo_rllib.envs.blame import blaming_env, env_name
    from empo_rllib.results.grid_picture import all_agents_shown
    from empo_rllib.results.picture import as_picture

    with blaming_env(env, "render()"), all_agents_shown(env.env):
        rendered = env.render()
    picture = as_picture(rendered)
    if picture is None:
        raise EnvError(
            f"{env_name(env)} cannot be filmed: with render_mode rgb_array its render() returned "
            f"{_kind_of(rendered)}, which is no picture (uint8, height by width by 3)."
        )
    return picture


def _kind_of(rendered: Any) -> str:
    shape = getattr(rendered, "shape", None)
    if shape is None:
        return "None" if rendered is None else f"a {type(rendered).__name__}"
    return f"an array of shape {shape} and dtype {rendered.dtype}"


def _caption(title: str, episode: LiveEpisode) -> Caption:
    from empo_rllib.envs.action_names import action_names
    from empo_rllib.envs.step_limit import step_limit
    from empo_rllib.results.captions import AgentLine, Caption

    env = episode.env
    colours = _grid_agents(env)
    lines = [
        AgentLine(
            name=agent,
            action=action_text(_env_action(episode, agent), action_names(env.env, agent)),
            episode_return=episode.returns.get(agent, 0.0),
            colour=colours.get(agent),
            present=episode.over or agent in episode.observations,
        )
        for agent in env.possible_agents
    ]
    limit = step_limit(env.env)
    step = f"Step {episode.length:,}" + (f" of at most {limit:,}" if limit else "")
    total = f"return so far {sum(episode.returns.values()):.2f}"
    if len(lines) > 1:
        total += " (sum over agents)"
    return Caption(title, f"{step}, {total}", lines, _outcome(episode), episode.success)


def _env_action(episode: LiveEpisode, agent: str) -> Any:
    """Returns the agent's last action as the environment got it; None before the first."""
    action = episode.actions.get(agent)
    return None if action is None else episode.env.action_for_env(agent, action)


def _outcome(episode: LiveEpisode) -> str:
    if not episode.over:
        return ""
    if episode.cut:
        return "cut"
    return {True: "ended in success", False: "ended in failure", None: "ended"}[episode.success]


def action_text(action: Any, names: Sequence[str] = ()) -> str:
    """Returns an action as people read it: its name, or its first few numbers."""
    import numpy as np

    if action is None:
        return "-"
    if isinstance(action, dict):
        action = list(action.values())
    if isinstance(action, list | tuple):
        return "  ".join(action_text(part) for part in action)
    array = np.asarray(action)
    if names and array.ndim == 0:
        return names[int(array)]
    numbers = array.flatten().tolist()
    shown = [f"{x:+.2f}" if isinstance(x, float) else str(x) for x in numbers[:_SHOWN_NUMBERS]]
    return "  ".join([*shown, ".."] if len(numbers) > _SHOWN_NUMBERS else shown)


def _longest_action(env: ParallelMultiAgentEnv) -> str:
    from empo_rllib.envs.action_names import action_names

    texts = ["action"]
    for agent, space in env.action_spaces.items():
        # The widest sign and digit, whatever was drawn: texts are not of fixed width.
        action = action_text(env.action_for_env(agent, space.sample()))
        drawn = re.sub("[0-9]", "0", re.sub("[+-]", "+", action))
        texts += action_names(env.env, agent) or [drawn]
    return max(texts, key=len)


def _grid_agents(env: ParallelMultiAgentEnv) -> dict[str, Colour]:
    """Returns the colours of MultiGrid's agents; nothing for another environment."""
    from empo_rllib.envs.multigrid import MultiGridParallelEnv

    if not isinstance(env.env, MultiGridParallelEnv):
        return {}
    from multigrid.core.constants import COLORS

    colours = [COLORS[agent.color.value] for agent in env.env.env.unwrapped.agents]
    return {
        name: (int(red), int(green), int(blue))
        for name, (red, green, blue) in zip(env.possible_agents, colours, strict=True)
    }
