"""Axes without scales: what matplotlib prepares for ticks and their grid is half of the time that its axes take."""

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.patches import Rectangle
from matplotlib.transforms import Transform


class _Scaleless:
    """An axis that makes no ticks: setting its clip path would make the first ones."""

    def set_clip_path(self, path, transform=None) -> None:
        Artist.set_clip_path(self, path, transform)


class _BareX(_Scaleless, XAxis):
    pass


class _BareY(_Scaleless, YAxis):
    pass


class _Ground(Rectangle):
    """The plot's own square from 0 to 1, which no transformation of a rectangle needs to be put before."""

    def get_transform(self) -> Transform:
        return Artist.get_transform(self)


class BareAxes(Axes):
    """Axes for `app.charts.canvas.plot_area`, which writes the few labels of a chart as texts.

    Nothing else may be asked of them: ``grid`` and ``tick_params`` do nothing.
    """

    name = "bare"

    def __init__(self, figure, place: tuple[float, float, float, float]) -> None:
        """``place`` is (left, bottom, width, height) as shares of the figure."""
        super().__init__(figure, place)
        self.set_axis_off()

    def grid(self, *args, **kwargs) -> None:
        """There is none."""

    def tick_params(self, *args, **kwargs) -> None:
        """There are none."""

    def _init_axis(self) -> None:
        self.xaxis, self.yaxis = _BareX(self, clear=False), _BareY(self, clear=False)

    def _gen_axes_spines(self) -> dict:
        return {}

    def _gen_axes_patch(self) -> Rectangle:
        return _Ground((0, 0), 1, 1)

    def get_xaxis_transform(self, which: str = "grid") -> Transform:
        """Values across, shares of the plot's height upwards; spines, which others ask about, there are none."""
        return super().get_xaxis_transform("grid")

    def get_yaxis_transform(self, which: str = "grid") -> Transform:
        """Shares of the plot's width across, values upwards."""
        return super().get_yaxis_transform("grid")
